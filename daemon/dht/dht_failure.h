// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <stdexcept>
#include <string>

namespace connd::daemon {

/// Ends the start of the DHT: `text` is what a person is told of it.
[[noreturn]] inline void fail_dht(const std::string& text) {
  throw std::runtime_error(text);
}

}  // namespace connd::daemon
