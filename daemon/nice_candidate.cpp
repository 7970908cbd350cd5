// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/nice_candidate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace connd::daemon {
namespace {

constexpr unsigned kDiscardPort = 9;        // RFC 6544 4.5
constexpr std::size_t kMaxLineBytes = 512;  // a full line is under 150
constexpr std::size_t kMaxFoundation = 32;  // RFC 8839 5.1: 1*32 ice-char
constexpr std::size_t kMinTokens = 8;       // up to and with the value of `typ`
constexpr std::size_t kMaxTokens = 32;      // unknown extension pairs are skipped, within reason

struct Name {
  std::string_view text;
  int value;
};
constexpr std::array kTypes = {
    Name{"host", NICE_CANDIDATE_TYPE_HOST},
    Name{"srflx", NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE},
    Name{"prflx", NICE_CANDIDATE_TYPE_PEER_REFLEXIVE},
    Name{"relay", NICE_CANDIDATE_TYPE_RELAYED},
};
constexpr std::array kTcpTypes = {
    Name{"active", NICE_CANDIDATE_TRANSPORT_TCP_ACTIVE},
    Name{"passive", NICE_CANDIDATE_TRANSPORT_TCP_PASSIVE},
    Name{"so", NICE_CANDIDATE_TRANSPORT_TCP_SO},
};

template <std::size_t N>
std::optional<int> value_of(const std::array<Name, N>& names, std::string_view text) {
  for (const Name& name : names) {
    if (name.text == text) return name.value;
  }
  return std::nullopt;
}
template <std::size_t N>
std::string_view text_of(const std::array<Name, N>& names, int value) {
  for (const Name& name : names) {
    if (name.value == value) return name.text;
  }
  return {};
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> tokens;
  while (tokens.size() <= kMaxTokens) {
    const std::size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string_view::npos) break;
    line.remove_prefix(start);
    const std::size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    tokens.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return tokens;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_tcp(std::string_view text) {
  return text.size() == 3 && (text[0] | 32) == 't' && (text[1] | 32) == 'c' && (text[2] | 32) == 'p';
}

/// Laxer than RFC 8839's ice-char: a foundation is compared, never interpreted.
bool is_graphic(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool usable(const in_addr& address, bool allow_loopback) {
  const std::uint32_t host = ntohl(address.s_addr);
  if ((host >> 24) == 127) return allow_loopback;
  return (host >> 24) != 0 && (host >> 28) < 0xE;  // "this network"; multicast, reserved and broadcast
}

bool usable(const in6_addr& address, bool allow_loopback) {
  if (IN6_IS_ADDR_LOOPBACK(&address)) return allow_loopback;
  return !IN6_IS_ADDR_UNSPECIFIED(&address) && !IN6_IS_ADDR_LINKLOCAL(&address) && !IN6_IS_ADDR_MULTICAST(&address) &&
         !IN6_IS_ADDR_V4MAPPED(&address) && !IN6_IS_ADDR_V4COMPAT(&address);
}

/// inet_pton alone reads it: numeric, no scope, no name to resolve.
bool parse_address(std::string_view text, bool allow_loopback, NiceAddress& out) {
  if (text.size() >= INET6_ADDRSTRLEN) return false;
  const std::string copy(text);
  in_addr v4{};
  if (inet_pton(AF_INET, copy.c_str(), &v4) == 1) {
    if (!usable(v4, allow_loopback)) return false;
    nice_address_set_ipv4(&out, ntohl(v4.s_addr));
    return true;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, copy.c_str(), &v6) != 1 || !usable(v6, allow_loopback)) return false;
  nice_address_set_ipv6(&out, v6.s6_addr);
  return true;
}

std::string address_text(const NiceAddress& address) {
  std::array<gchar, NICE_ADDRESS_STRING_LEN> text{};
  nice_address_to_string(&address, text.data());
  return text.data();
}

/// libnice 0.1.21 declares nice_address_is_linklocal but does not export it.
bool is_link_local(const NiceAddress& address) {
  if (nice_address_ip_version(&address) != 6) return false;
  sockaddr_storage storage{};
  nice_address_copy_to_sockaddr(&address, reinterpret_cast<sockaddr*>(&storage));
  return IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
}

/// The value of `key` among the pairs after `typ`.
std::string_view extension(const std::vector<std::string_view>& tokens, std::string_view key) {
  for (std::size_t i = kMinTokens; i + 1 < tokens.size(); i += 2) {
    if (tokens[i] == key) return tokens[i + 1];
  }
  return {};
}

}  // namespace

std::optional<std::string> to_line(const NiceCandidate& candidate) {
  const std::string_view tcp_type = text_of(kTcpTypes, candidate.transport);
  const std::string_view type = text_of(kTypes, candidate.type);
  if (tcp_type.empty() || type.empty() || candidate.component_id != kIceComponent) return std::nullopt;
  if (is_link_local(candidate.addr)) return std::nullopt;
  unsigned port = nice_address_get_port(&candidate.addr);
  if (candidate.transport == NICE_CANDIDATE_TRANSPORT_TCP_ACTIVE) port = kDiscardPort;
  if (port == 0) return std::nullopt;
  std::string line(candidate.foundation);
  line += ' ' + std::to_string(kIceComponent) + " TCP " + std::to_string(candidate.priority) + ' ';
  line += address_text(candidate.addr) + ' ' + std::to_string(port) + " typ ";
  line += type;
  line += " tcptype ";
  line += tcp_type;
  return line;
}

NiceCandidatePtr from_line(std::string_view line, guint stream_id, bool allow_loopback) {
  if (line.size() > kMaxLineBytes) return nullptr;
  const auto tokens = split(line);
  if (tokens.size() < kMinTokens || tokens.size() > kMaxTokens) return nullptr;
  const std::string_view foundation = tokens[0];
  if (foundation.size() > kMaxFoundation || !is_graphic(foundation)) return nullptr;
  if (tokens[1] != "1" || !is_tcp(tokens[2]) || tokens[6] != "typ") return nullptr;
  const auto priority = number<std::uint32_t>(tokens[3]);
  const auto port = number<std::uint16_t>(tokens[5]);
  const auto type = value_of(kTypes, tokens[7]);
  const auto tcp_type = value_of(kTcpTypes, extension(tokens, "tcptype"));
  if (!priority || *priority == 0 || !port || !type || !tcp_type) return nullptr;
  const bool active = *tcp_type == NICE_CANDIDATE_TRANSPORT_TCP_ACTIVE;
  if (*port == 0 && !active) return nullptr;
  NiceAddress address;
  nice_address_init(&address);
  if (!parse_address(tokens[4], allow_loopback, address)) return nullptr;
  nice_address_set_port(&address, active ? kDiscardPort : *port);

  NiceCandidatePtr candidate(nice_candidate_new(static_cast<NiceCandidateType>(*type)));
  candidate->transport = static_cast<NiceCandidateTransport>(*tcp_type);
  candidate->addr = address;
  candidate->base_addr = address;
  candidate->priority = *priority;
  candidate->stream_id = stream_id;
  candidate->component_id = kIceComponent;
  std::memcpy(candidate->foundation, foundation.data(), foundation.size());
  candidate->foundation[foundation.size()] = '\0';
  return candidate;
}

static_assert(kMaxFoundation < NICE_CANDIDATE_MAX_FOUNDATION, "the foundation and its NUL fit");

std::vector<NiceCandidatePtr> from_lines(std::span<const std::string> lines, guint stream_id, bool allow_loopback) {
  std::vector<NiceCandidatePtr> out;
  for (const std::string& line : lines) {
    if (out.size() == kMaxRemoteCandidates) break;
    if (auto candidate = from_line(line, stream_id, allow_loopback)) out.push_back(std::move(candidate));
  }
  return out;
}

std::string printable(const NiceAddress& address) {
  const std::string ip = address_text(address);
  const std::string port = std::to_string(nice_address_get_port(&address));
  return ip.find(':') == std::string::npos ? ip + ':' + port : '[' + ip + "]:" + port;
}

}  // namespace connd::daemon
