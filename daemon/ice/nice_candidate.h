// SPDX-License-Identifier: GPL-3.0-or-later
/// proto::Candidate to libnice's candidates and back, and which of a peer's we are willing to connect to.
///
/// libnice's own SDP parser is not used: it rejects a whole description for one bad line, and peers send lines that it
/// does not know.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nice/agent.h>

#include "proto/candidate.h"

namespace connd::daemon {

/// One component, always: everything travels on one stream.
inline constexpr unsigned kIceComponent = 1;
struct NiceCandidateDeleter {
  void operator()(NiceCandidate* candidate) const { nice_candidate_free(candidate); }
};
using NiceCandidatePtr = std::unique_ptr<NiceCandidate, NiceCandidateDeleter>;

/// A local candidate for the peer; nothing when it is not TCP, not of our component, or link-local.
std::optional<proto::Candidate> to_proto(const NiceCandidate& candidate);

/// A peer's candidate, or nothing when it is not one that we would connect to: not TCP, link-local, multicast,
/// unspecified, IPv4-mapped, without a port, or loopback while not `allow_loopback` (a peer must not be able to point
/// us at our own machine's services).
NiceCandidatePtr to_nice(const proto::Candidate& candidate, guint stream_id, bool allow_loopback);

/// All usable ones, in their order.
std::vector<NiceCandidatePtr> to_nice(std::span<const proto::Candidate> candidates, guint stream_id,
                                      bool allow_loopback);

/// "ip:port", an IPv6 address in brackets.
std::string printable(const NiceAddress& address);

}  // namespace connd::daemon
