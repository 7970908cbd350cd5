// SPDX-License-Identifier: GPL-3.0-or-later
/// Candidate lines to libnice's candidates and back, from the fields.
///
/// libnice's own SDP parser is not used: it rejects a whole description for one bad line, and peers send lines that it
/// does not know. The line: `FOUNDATION COMPONENT TCP PRIORITY ADDRESS PORT typ host|srflx|prflx|relay tcptype
/// active|passive|so`, RFC 8839 5.1 and RFC 6544 4.5 without the `a=candidate:` in front.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nice/agent.h>

namespace connd::daemon {

/// One component, always: everything travels on one stream.
inline constexpr unsigned kIceComponent = 1;
/// Remote candidates handed to libnice. A real peer has two or three per address; each further one is a connection that
/// a stranger's request could make us try.
inline constexpr std::size_t kMaxRemoteCandidates = 64;

struct NiceCandidateDeleter {
  void operator()(NiceCandidate* candidate) const { nice_candidate_free(candidate); }
};
using NiceCandidatePtr = std::unique_ptr<NiceCandidate, NiceCandidateDeleter>;

/// The line for a local candidate; nothing when it is not TCP, not of our component, or link-local. RFC 6544 4.5: an
/// active candidate's port is 9, the discard port.
std::optional<std::string> to_line(const NiceCandidate& candidate);

/// The candidate that a line names, or nothing when it is malformed or not one that we would connect to: not TCP, not
/// our component, a host name, link-local, multicast, unspecified, IPv4-mapped, or loopback while not `allow_loopback`
/// (a peer must not be able to point us at our own machine's services).
NiceCandidatePtr from_line(std::string_view line, guint stream_id, bool allow_loopback);

/// All usable ones of the lines, at most kMaxRemoteCandidates, the first first.
std::vector<NiceCandidatePtr> from_lines(std::span<const std::string> lines, guint stream_id, bool allow_loopback);

/// "ip:port", an IPv6 address in brackets.
std::string printable(const NiceAddress& address);

}  // namespace connd::daemon
