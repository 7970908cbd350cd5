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

/// Of a peer's addresses, which are used beside those that any network may have.
struct PeerAddresses {
  bool loopback = false;    ///< a peer must not be able to point us at our own machine's services
  bool link_local = false;  ///< 169.254.0.0/16: on our link, only where we have one ourselves
};

/// What we connect to at one address: a peer has a port of its own there, one for this attempt, perhaps one that a
/// router maps, and another one's relay. One that lists more has us try a machine's ports on its behalf.
inline constexpr std::size_t kMaxPortsOfAddress = 4;
/// In all, paced by libnice (IceConfig::pacing). Jami's peers have been seen with 42 lines, half of them active.
inline constexpr std::size_t kMaxConnectable = 32;

/// Whether a peer's candidate is one that we would connect to, or that it may connect from: TCP, with a port, and not
/// of an address that no network has: multicast, broadcast, unspecified, reserved, IPv4-mapped or -translated,
/// link-local IPv6 (no scope), or what `allowed` leaves out.
bool is_connectable(const proto::Candidate& candidate, PeerAddresses allowed);

/// Those of them that are, in their order, within kMaxPortsOfAddress and kMaxConnectable. Those that say `active` count
/// for nothing: nobody connects to them.
std::vector<proto::Candidate> connectable(std::span<const proto::Candidate> candidates, PeerAddresses allowed);

/// In libnice's form. One that is_connectable().
NiceCandidatePtr to_nice(const proto::Candidate& candidate, guint stream_id);

/// "ip:port", an IPv6 address in brackets.
std::string printable(const NiceAddress& address);

}  // namespace connd::daemon
