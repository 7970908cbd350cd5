// SPDX-License-Identifier: GPL-3.0-or-later
/// The addresses of this machine that are worth offering to a peer.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace connd::daemon {

/// Textual addresses of the interfaces that are up and running, IPv4 first (it is the more likely to be shared), at
/// most kMaxLocalAddresses. Link-local IPv6 is left out: it means nothing without a scope, which a candidate line
/// cannot carry. Loopback is given only when asked for or when there is nothing else (a machine without a network).
/// Nothing when the kernel does not tell.
inline constexpr std::size_t kMaxLocalAddresses = 1024;
std::optional<std::vector<std::string>> local_addresses(bool with_loopback);

/// Whether the text is 127.0.0.0/8 or ::1.
bool is_loopback(const std::string& address);

}  // namespace connd::daemon
