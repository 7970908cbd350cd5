// SPDX-License-Identifier: GPL-3.0-or-later
/// A small versioned JSON document on disk: {"v": 1, "<list>": […]}, read whole, replaced whole.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "daemon/system/outcome.h"

namespace connd::daemon {

struct JsonFile {
  std::string path;
  std::string list;         ///< the member that holds the entries
  std::size_t max_bytes;    ///< of the file
  std::size_t max_entries;  ///< of the list

  /// The list; an empty one when there is no file. Failures: it cannot be read, is not JSON, is of another version, or
  /// passes a bound.
  [[nodiscard]] Outcome<nlohmann::json> load() const;
  /// On disk when it returns. Failures: those of write_atomically; too many entries or bytes.
  [[nodiscard]] Outcome<void> save(nlohmann::json entries) const;
  /// What save() fails with where there are too many entries.
  [[nodiscard]] Failure too_many() const;
  /// "PATH: is damaged (…)": what a start says of an entry that it does not understand.
  [[nodiscard]] Failure damaged(const std::string& why) const;
};

}  // namespace connd::daemon
