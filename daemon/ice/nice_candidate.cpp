// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/nice_candidate.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <map>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace connd::daemon {
namespace {

using proto::Candidate;
using proto::CandidateType;
using proto::TcpType;

template <class Ours, class Nice>
struct Pair {
  Ours ours;
  Nice nice;
};
constexpr std::array kTypes = {
    Pair{CandidateType::kHost, NICE_CANDIDATE_TYPE_HOST},
    Pair{CandidateType::kServerReflexive, NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE},
    Pair{CandidateType::kPeerReflexive, NICE_CANDIDATE_TYPE_PEER_REFLEXIVE},
    Pair{CandidateType::kRelay, NICE_CANDIDATE_TYPE_RELAYED},
};
constexpr std::array kTcpTypes = {
    Pair{TcpType::kActive, NICE_CANDIDATE_TRANSPORT_TCP_ACTIVE},
    Pair{TcpType::kPassive, NICE_CANDIDATE_TRANSPORT_TCP_PASSIVE},
    Pair{TcpType::kSimultaneousOpen, NICE_CANDIDATE_TRANSPORT_TCP_SO},
};

template <class Ours, class Nice, std::size_t N>
std::optional<Nice> nice_of(const std::array<Pair<Ours, Nice>, N>& pairs, Ours ours) {
  for (const auto& pair : pairs) {
    if (pair.ours == ours) return pair.nice;
  }
  return std::nullopt;
}
template <class Ours, class Nice, std::size_t N>
std::optional<Ours> ours_of(const std::array<Pair<Ours, Nice>, N>& pairs, Nice nice) {
  for (const auto& pair : pairs) {
    if (pair.nice == nice) return pair.ours;
  }
  return std::nullopt;
}

bool usable(const in_addr& address, PeerAddresses allowed) {
  const std::uint32_t host = ntohl(address.s_addr);
  if ((host >> 24) == 127) return allowed.loopback;
  if ((host >> 16) == 0xA9FE) return allowed.link_local;
  // RFC 7335: what a phone has behind its own translator (192.0.0.0/29), and protocols' other addresses.
  if ((host >> 8) == 0xC00000) return false;
  return (host >> 24) != 0 && (host >> 28) < 0xE;  // "this network"; multicast, reserved and broadcast
}

/// RFC 6052, RFC 8215: an IPv4 address behind somebody's translator, of whatever network. No host has one.
bool is_translated(const in6_addr& address) {
  constexpr std::array<std::uint8_t, 4> kPrefix = {0x00, 0x64, 0xFF, 0x9B};
  return std::equal(kPrefix.begin(), kPrefix.end(), address.s6_addr);
}

bool usable(const in6_addr& address, PeerAddresses allowed) {
  if (IN6_IS_ADDR_LOOPBACK(&address)) return allowed.loopback;
  return !is_translated(address) && !IN6_IS_ADDR_UNSPECIFIED(&address) && !IN6_IS_ADDR_LINKLOCAL(&address) &&
         !IN6_IS_ADDR_MULTICAST(&address) && !IN6_IS_ADDR_V4MAPPED(&address) && !IN6_IS_ADDR_V4COMPAT(&address);
}

/// inet_pton alone reads it: numeric, no scope, no name to resolve.
bool parse_address(const std::string& text, PeerAddresses allowed, NiceAddress& out) {
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    if (!usable(v4, allowed)) return false;
    nice_address_set_ipv4(&out, ntohl(v4.s_addr));
    return true;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1 || !usable(v6, allowed)) return false;
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

}  // namespace

std::optional<Candidate> to_proto(const NiceCandidate& candidate) {
  const auto tcp_type = ours_of(kTcpTypes, candidate.transport);
  const auto type = ours_of(kTypes, candidate.type);
  if (!tcp_type || !type || candidate.component_id != kIceComponent) return std::nullopt;
  if (is_link_local(candidate.addr)) return std::nullopt;
  Candidate out;
  out.foundation = candidate.foundation;
  out.priority = candidate.priority;
  out.address = address_text(candidate.addr);
  out.port = static_cast<std::uint16_t>(nice_address_get_port(&candidate.addr));
  out.type = *type;
  out.tcp_type = *tcp_type;
  if (out.tcp_type == TcpType::kActive) out.port = Candidate::kDiscardPort;
  if (out.port == 0) return std::nullopt;
  return out;
}

bool is_connectable(const Candidate& candidate, PeerAddresses allowed) {
  const bool active = candidate.tcp_type == TcpType::kActive;
  if (candidate.transport != proto::Transport::kTcp || !nice_of(kTcpTypes, candidate.tcp_type)) return false;
  NiceAddress address;
  nice_address_init(&address);
  return (candidate.port != 0 || active) && parse_address(candidate.address, allowed, address);
}

std::vector<Candidate> connectable(std::span<const Candidate> candidates, PeerAddresses allowed) {
  std::vector<Candidate> out;
  std::map<std::string, std::size_t> ports;  // by address, as libnice writes it
  std::size_t count = 0;
  for (const Candidate& candidate : candidates) {
    if (!is_connectable(candidate, allowed)) continue;
    if (candidate.tcp_type != TcpType::kActive) {
      NiceAddress address;
      nice_address_init(&address);
      parse_address(candidate.address, allowed, address);
      std::size_t& of_address = ports[address_text(address)];
      if (of_address >= kMaxPortsOfAddress || count >= kMaxConnectable) continue;
      ++of_address;
      ++count;
    }
    out.push_back(candidate);
  }
  return out;
}

NiceCandidatePtr to_nice(const Candidate& candidate, guint stream_id) {
  const auto type = nice_of(kTypes, candidate.type);
  const auto tcp_type = nice_of(kTcpTypes, candidate.tcp_type);
  const bool active = candidate.tcp_type == TcpType::kActive;
  NiceAddress address;
  nice_address_init(&address);
  const bool known = type && tcp_type && parse_address(candidate.address, {true, true}, address);
  assert(known);
  (void)known;
  nice_address_set_port(&address, active ? Candidate::kDiscardPort : candidate.port);

  NiceCandidatePtr out(nice_candidate_new(*type));
  out->transport = *tcp_type;
  out->addr = address;
  out->base_addr = address;
  out->priority = candidate.priority;
  out->stream_id = stream_id;
  out->component_id = kIceComponent;
  static_assert(Candidate::kMaxFoundationBytes < NICE_CANDIDATE_MAX_FOUNDATION, "the foundation and its NUL fit");
  const std::size_t length = std::min(candidate.foundation.size(), Candidate::kMaxFoundationBytes);
  std::memcpy(out->foundation, candidate.foundation.data(), length);
  out->foundation[length] = '\0';
  return out;
}

std::string printable(const NiceAddress& address) {
  const std::string ip = address_text(address);
  const std::string port = std::to_string(nice_address_get_port(&address));
  return ip.find(':') == std::string::npos ? ip + ':' + port : '[' + ip + "]:" + port;
}

}  // namespace connd::daemon
