// SPDX-License-Identifier: GPL-3.0-or-later
/// What people are told of a device that is not found, or does not answer. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "daemon/connection/open_request.h"
#include "proto/connect.h"

namespace connd::daemon {

/// By what a device that is called is known: all that there is to say of one that does not answer.
enum class KnownBy : std::uint8_t { kNothing, kStore, kCertificate, kAnnouncement };

struct KnownOfPeer {
  KnownBy by = KnownBy::kNothing;
  std::optional<proto::TimePoint> last_up{};  ///< when a connection with it was up last
};

/// `reason`, or kNoNetwork: nobody is found, and nobody answers, while we are not `online` ourselves, and that says
/// nothing of the peer.
proto::Reason whose_fault(proto::Reason reason, bool online);
/// Of a device that is not found (kNotFound), or does not answer (kNoAnswerOrRefused), with what this device knows of
/// it, from what the call itself has seen. Other reasons: their own text.
OpenError silence_of(proto::Reason reason, const KnownOfPeer& known, bool online, proto::TimePoint now);
/// No device of an account, or with a short id, was found.
OpenError nothing_found(bool online);
/// Of an open whose time is over while an attempt was in that state; not for those two in which silence_of() tells
/// more.
OpenError timed_out_in(proto::ConnectState state);

}  // namespace connd::daemon
