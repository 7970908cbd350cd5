// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/nice_candidate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

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
bool parse_address(const std::string& text, bool allow_loopback, NiceAddress& out) {
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    if (!usable(v4, allow_loopback)) return false;
    nice_address_set_ipv4(&out, ntohl(v4.s_addr));
    return true;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1 || !usable(v6, allow_loopback)) return false;
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

NiceCandidatePtr to_nice(const Candidate& candidate, guint stream_id, bool allow_loopback) {
  const auto type = nice_of(kTypes, candidate.type);
  const auto tcp_type = nice_of(kTcpTypes, candidate.tcp_type);
  if (candidate.transport != proto::Transport::kTcp || !type || !tcp_type) return nullptr;
  const bool active = candidate.tcp_type == TcpType::kActive;
  if (candidate.port == 0 && !active) return nullptr;
  NiceAddress address;
  nice_address_init(&address);
  if (!parse_address(candidate.address, allow_loopback, address)) return nullptr;
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

std::vector<NiceCandidatePtr> to_nice(std::span<const Candidate> candidates, guint stream_id, bool allow_loopback) {
  std::vector<NiceCandidatePtr> out;
  for (const Candidate& candidate : candidates) {
    if (auto nice = to_nice(candidate, stream_id, allow_loopback)) out.push_back(std::move(nice));
  }
  return out;
}

std::string printable(const NiceAddress& address) {
  const std::string ip = address_text(address);
  const std::string port = std::to_string(nice_address_get_port(&address));
  return ip.find(':') == std::string::npos ? ip + ':' + port : '[' + ip + "]:" + port;
}

}  // namespace connd::daemon
