// SPDX-License-Identifier: GPL-3.0-or-later
/// How much the log says.
#pragma once

#include <cstdint>

namespace connd::daemon {

enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarn, kError };

}  // namespace connd::daemon
