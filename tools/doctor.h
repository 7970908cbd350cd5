// SPDX-License-Identifier: GPL-3.0-or-later
/// What jami-connctl doctor says: verdicts on what was seen of the daemon and the machine, and what to do. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipc/api_admin.h"
#include "ipc/error.h"

namespace connd::tools {

enum class Verdict {
  kGood,
  kNotKnown,  ///< not yet, or not to be found out from here
  kWarning,   ///< works, and something would work better
  kBad,       ///< something that people rely on does not work
};
/// "good", "not known", "warning", "bad".
[[nodiscard]] std::string_view name_of(Verdict verdict);

struct Finding {
  std::string check;  ///< one word
  Verdict verdict = Verdict::kGood;
  std::string text;    ///< what was seen; one clause
  std::string advice;  ///< what to do; empty when there is nothing to
};

/// What there is to judge.
struct Symptoms {
  std::string tool_version;
  /// The daemon's own account; an error: it did not answer.
  ipc::Outcome<ipc::DaemonStatus> status = ipc::make_error(ipc::Reason::kDaemonAbsent);
  std::string socket_path;                   ///< that it was asked at
  std::optional<bool> clock_synchronized{};  ///< as the kernel says; absent: it does not
  /// Entries of trust that let somebody in; absent: this user may not know.
  std::optional<std::size_t> allowed{};
};

/// One finding for each thing that is looked at, in the order in which one thing rests on another.
[[nodiscard]] std::vector<Finding> diagnose(const Symptoms& symptoms);

}  // namespace connd::tools
