// SPDX-License-Identifier: GPL-3.0-or-later
/// HostPort: a host name or address, and a port.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/system/outcome.h"

namespace connd::daemon {

struct HostPort {
  std::string host;  ///< a name, an IPv4 address, or an IPv6 address without brackets
  std::uint16_t port = 0;

  /// HOST:PORT, HOST where the port is 0, with an IPv6 address in brackets (RFC 3986, section 3.2.2).
  [[nodiscard]] std::string text() const;
  /// From HOST, HOST:PORT, IPV6, [IPV6] or [IPV6]:PORT. Nothing is looked up. Failure: anything else, or a port that is
  /// not 1 to 65535.
  static Outcome<HostPort> parse(std::string_view text, std::uint16_t default_port);

  friend bool operator==(const HostPort&, const HostPort&) = default;
};

}  // namespace connd::daemon
