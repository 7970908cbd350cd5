// SPDX-License-Identifier: GPL-3.0-or-later
/// What people are told of certificates: whose is meant, its dates, and what this device's clock says, for either may
/// be wrong. Pure; any thread. Times are seconds since 1970.
#pragma once

#include <optional>
#include <string>
#include <system_error>

#include "proto/certificate_chain.h"

namespace connd::daemon {

/// "2026-11-30 09:12 UTC".
std::string date_text(std::int64_t unix_time);

/// What is wrong with this device's own chain, or will be within kSoonSeconds; nothing when all is well.
inline constexpr std::int64_t kSoonSeconds = std::int64_t{14} * 86'400;
std::optional<std::string> own_certificate_problem(const proto::Validity& own, std::int64_t now_unix);

/// Why TLS ended, or a request was refused: `told`, with whose certificate it was about put right. `own`: the validity
/// of this device's chain, where it is known.
std::string certificate_fault_text(std::error_code fault, const std::string& told,
                                   const std::optional<proto::Validity>& own, std::int64_t now_unix);

}  // namespace connd::daemon
