// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdio>
#include <string>

namespace connd::bench {

/// printf into a string; what is beyond 511 bytes is cut.
template <class... Arguments>
std::string print(const char* format, Arguments... arguments) {
  char text[512];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

}  // namespace connd::bench
