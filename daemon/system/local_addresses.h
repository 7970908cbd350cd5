// SPDX-License-Identifier: GPL-3.0-or-later
/// The addresses of this machine that are worth offering to a peer.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace connd::daemon {

/// Machines with containers have hundreds.
inline constexpr std::size_t kMaxLocalAddresses = 1024;

/// An address that an interface has.
struct InterfaceAddress {
  std::string text;  ///< numeric, without scope
  std::string interface;
  bool ipv6 = false;
  bool loopback = false;
  bool link_local = false;  ///< 169.254.0.0/16 (RFC 3927)
};

/// Those of the interfaces that are up and running, in the kernel's order, at most kMaxLocalAddresses. Link-local IPv6
/// is left out: it means nothing without a scope, which a candidate line cannot carry. Nothing when the kernel does not
/// tell.
std::optional<std::vector<InterfaceAddress>> interface_addresses();

/// Textual addresses of the interfaces that are up and running, IPv4 first (it is the more likely to be shared), at
/// most kMaxLocalAddresses, as interface_addresses() has them. Loopback is given only when asked for or when there is
/// nothing else (a machine without a network). Nothing when the kernel does not tell.
std::optional<std::vector<std::string>> local_addresses(bool with_loopback);

/// Which of this machine's addresses the kernel would take towards the internet; empty: it has no such route. Sends
/// nothing.
struct InternetSources {
  std::string v4, v6;
};
InternetSources internet_sources();

/// Whether the text is 127.0.0.0/8 or ::1.
bool is_loopback(const std::string& address);
/// Whether the text is of 169.254.0.0/16.
bool is_link_local(const std::string& address);
/// Whether a machine elsewhere on the internet can have that address: not one of a private network, a carrier's
/// (100.64.0.0/10), a link, a group or a machine itself.
bool is_public(const std::string& address);

}  // namespace connd::daemon
