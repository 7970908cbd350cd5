// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/host_port.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <arpa/inet.h>

namespace connd::daemon {
namespace {

// RFC 1035, 2.3.4: the longest name.
constexpr std::size_t kMaxHostBytes = 253;

Failure malformed(std::string_view text) {
  return invalid("'" + std::string(text) + "' is not HOST, HOST:PORT or [IPV6]:PORT");
}

bool is_ipv6(const std::string& text) {
  // A link-local address needs its interface behind '%', which inet_pton does not know.
  const std::string address = text.substr(0, text.find('%'));
  in6_addr parsed{};
  return inet_pton(AF_INET6, address.c_str(), &parsed) == 1;
}

bool is_host(std::string_view text) {
  if (text.empty() || text.size() > kMaxHostBytes) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '_';
  });
}

std::optional<std::uint16_t> port_from(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

}  // namespace

std::string HostPort::text() const {
  if (port == 0) return host;
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Outcome<HostPort> HostPort::parse(std::string_view text, std::uint16_t default_port) {
  if (is_ipv6(std::string(text))) return HostPort{std::string(text), default_port};
  const bool bracketed = text.starts_with('[');
  const std::size_t host_end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && host_end == std::string_view::npos) return malformed(text);
  const std::string host(bracketed ? text.substr(1, host_end - 1) : text.substr(0, host_end));
  const std::string_view rest = host_end == std::string_view::npos ? "" : text.substr(host_end + (bracketed ? 1 : 0));
  if (bracketed ? !is_ipv6(host) : !is_host(host)) return malformed(text);
  if (rest.empty()) return HostPort{host, default_port};
  const auto port = rest.starts_with(':') ? port_from(rest.substr(1)) : std::nullopt;
  if (!port) return malformed(text);
  return HostPort{host, *port};
}

}  // namespace connd::daemon
