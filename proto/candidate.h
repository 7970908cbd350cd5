// SPDX-License-Identifier: GPL-3.0-or-later
/// Candidate: an ICE candidate as the lines of a connection request carry it (RFC 8445, RFC 6544; JAMI_WIRE).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/error.h"
#include "proto/result.h"

namespace connd::proto {

enum class Transport { kTcp, kUdp };
enum class CandidateType { kHost, kServerReflexive, kPeerReflexive, kRelay };
/// RFC 6544, section 4.5. UDP candidates have none.
enum class TcpType { kNone, kActive, kPassive, kSimultaneousOpen };

/// A value. Compared member by member.
struct Candidate {
  /// RFC 8839, section 5.1: foundation = 1*32ice-char.
  static constexpr std::size_t kMaxFoundationBytes = 32;
  /// A full line with an IPv6 address is below 150 bytes; the rest is for extensions that are passed over.
  static constexpr std::size_t kMaxLineBytes = 512;
  /// RFC 6544, section 4.5: an active candidate has no port to connect to; it shows the discard port.
  static constexpr std::uint16_t kDiscardPort = 9;

  std::string foundation;
  Transport transport = Transport::kTcp;
  std::uint32_t priority = 0;
  std::string address;  ///< IPv4 or IPv6 literal, bare, without zone
  std::uint16_t port = 0;
  CandidateType type = CandidateType::kHost;
  TcpType tcp_type = TcpType::kNone;

  [[nodiscard]] bool is_ipv6() const { return address.find(':') != std::string::npos; }
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

/// From `FOUNDATION 1 TCP|UDP PRIORITY ADDRESS PORT typ TYPE [tcptype T] [NAME VALUE]…`. Unknown extensions and
/// raddr/rport are passed over; transport and keywords are taken in either case. Component 1 is the only one there is.
/// Errors: kBadCandidate, and kTooLong above kMaxLineBytes.
Result<Candidate> parse_candidate(std::string_view line);

/// The line, without its end: the form that Jami's peers take, so raddr and rport are never in it, and an active
/// candidate shows port 9.
std::string to_line(const Candidate& candidate);

}  // namespace connd::proto
