// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxReceiver: what a peer says, judged by the rules of PROTOCOL.md (8 to 14; 17 for Jami's dialect), and what follows
/// from it: events for the owner, answers, or the error that ends the connection.
///
/// Sans-IO. All that it refers to is the mux's, and outlives it.
#pragma once

#include <optional>

#include "proto/flood_guard.h"
#include "proto/frame_reader.h"
#include "proto/going_away.h"
#include "proto/keepalive.h"
#include "proto/mux_channels.h"
#include "proto/mux_event.h"
#include "proto/result.h"
#include "proto/time.h"

namespace connd::proto {

class MuxReceiver {
 public:
  /// The mux's other parts.
  struct Parts {
    Dialect& dialect;
    MuxFlow& flow;
    MuxOutput& output;
    MuxChannels& channels;
    FloodGuard& guard;
    GoingAway& leaving;
    Keepalive& keepalive;
  };
  MuxReceiver(MuxSide side, const Parts& parts);

  using OptionalEvent = Result<std::optional<MuxEvent>>;

  /// As FrameReader::feed.
  void feed(Bytes plain) { reader_.feed(plain); }
  /// The next event, nothing when the input is used up, or what of the peer's ends the connection.
  OptionalEvent next(TimePoint now);

  /// The peer's hello is here, or the dialect has none.
  [[nodiscard]] bool hello_received() const { return hello_.has_value(); }
  /// What it said, or would have said.
  [[nodiscard]] control::Hello hello() const { return hello_.value_or(control::Hello{}); }

 private:
  using Kind = MuxEvent::Kind;

  OptionalEvent on_piece(const FramePiece& piece, TimePoint now);
  OptionalEvent on_data(Channel& channel, Bytes body, TimePoint now);
  OptionalEvent on_end(Channel& channel);
  OptionalEvent on_end_of_both(Channel& channel);
  OptionalEvent broke_rules(Channel& channel, std::error_code error);

  OptionalEvent on(control::Hello& m, TimePoint now);
  OptionalEvent on(control::ChannelRequest& m, TimePoint now);
  OptionalEvent on(control::Window& m, TimePoint now);
  OptionalEvent on(control::Refuse& m, TimePoint now);
  OptionalEvent on(control::Reset& m, TimePoint now);
  OptionalEvent on(control::Ping& m, TimePoint now);
  OptionalEvent on(control::Pong& m, TimePoint now);
  OptionalEvent on(control::GoAway& m, TimePoint now);
  OptionalEvent on(control::Unique& m, TimePoint now);
  OptionalEvent on(control::Unknown& m, TimePoint now);
  OptionalEvent noise(TimePoint now);

  OptionalEvent on_request(control::ChannelRequest& m, TimePoint now);
  OptionalEvent on_accept(control::ChannelRequest& m, TimePoint now);
  OptionalEvent on_duplicate(Channel& existing, control::ChannelRequest& m, TimePoint now);
  OptionalEvent bad_request(control::ChannelRequest& m, const Channel* taken);
  [[nodiscard]] std::optional<Reason> why_not(const control::ChannelRequest& m) const;

  const MuxSide side_;
  const Parts parts_;
  const DialectRules& rules_;  ///< the dialect's
  MuxTable& table_;            ///< of the channels
  FrameReader reader_;
  bool announced_ = false;  ///< `unique` stands directly before the request that is looked at
  std::optional<control::Hello> hello_;
};

}  // namespace connd::proto
