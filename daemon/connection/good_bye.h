// SPDX-License-Identifier: GPL-3.0-or-later
/// GoodBye: how a connection leaves: what is queued for the peer goes first, if its time allows that
/// (proto/PROTOCOL.md, section 13, "Close" and "Drain").
#pragma once

#include "daemon/connection/connection_channels.h"
#include "daemon/connection/connection_life.h"
#include "daemon/connection/output_pump.h"
#include "daemon/link/link.h"
#include "proto/mux.h"
#include "proto/time.h"

namespace connd::daemon {

class GoodBye {
 public:
  /// What is queued when a connection drains has this long to reach the peer: enough for a full socket buffer on most
  /// paths; and a daemon that stops, and whoever waits for it, is not kept by a peer that takes nothing.
  static constexpr proto::Duration kDrainTime = std::chrono::seconds(3);

  /// All outlive it.
  GoodBye(Link& link, OutputPump& output, ConnectionChannels& channels, const ConnectionLife& life)
      : link_(link), output_(output), channels_(channels), life_(life) {}

  /// Says it, of a connection in kClosing, and begins to end the channels. `mux`: null if the link was not secured.
  void begin(proto::Mux* mux, proto::TimePoint now);
  /// Goes on with it, in each turn. True when there is more to do at once.
  bool step();
  /// At the deadline: what has not reached the peer by now does not.
  void time_is_over() { said_ = true; }
  [[nodiscard]] proto::TimePoint deadline() const { return deadline_; }
  /// Nothing is left to be done: the connection is down.
  [[nodiscard]] bool done() const { return said_ && channels_.all_ended(); }

 private:
  Link& link_;
  OutputPump& output_;
  ConnectionChannels& channels_;
  const ConnectionLife& life_;
  bool said_ = false;  ///< the peer needs nothing more of this side
  proto::TimePoint deadline_ = proto::kNever;
};

}  // namespace connd::daemon
