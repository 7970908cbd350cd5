// SPDX-License-Identifier: GPL-3.0-or-later
/// OutputPump: what goes from a connection's mux into its link: batches of what channels and the mux have to say, made
/// only while little waits in the link; and at the end, what is still to be said.
#pragma once

#include <cstdint>
#include <system_error>

#include "daemon/connection/connection_channels.h"
#include "daemon/connection/connection_life.h"
#include "daemon/link/link.h"
#include "proto/mux.h"
#include "proto/result.h"

namespace connd::daemon {

class OutputPump {
 public:
  /// All outlive it.
  OutputPump(Link& link, ConnectionChannels& channels, const ConnectionLife& life)
      : link_(link), channels_(channels), life_(life) {}
  /// The link is secured, and `mux` there, which outlives it.
  void begin(proto::Mux& mux) { mux_ = &mux; }

  /// Makes and sends output, as much as is fair. True when there is more to do in the next turn. An error is the
  /// link's, which takes nothing any more. That it sends nothing any more is no error here: see broken().
  proto::Result<bool> send();
  /// Nothing is sent any more, and what is made goes nowhere; what the peer had sent before can still be read.
  [[nodiscard]] std::error_code broken() const { return broken_; }

  // ---- the end ----

  /// The peer has, or will have, all that was said, whatever this side does now. With channels it may be sending, and
  /// closing before it has heard of the end would answer that by a reset.
  [[nodiscard]] bool all_delivered() const;
  /// Sends what the mux still has to say, and then the end of the link. True when everything was sent.
  proto::Result<bool> send_rest();

  // ---- how it gets on ----

  /// The peer has acknowledged more than at the last look, and has not all of it: on a slow path a ping waits behind
  /// what the kernel holds, for longer than a peer has to answer it. One that stands still acknowledges until its
  /// kernel is full.
  bool gets_through();

 private:
  proto::Result<bool> make_batch();
  void drop_all();
  void write_rest();

  Link& link_;
  ConnectionChannels& channels_;
  const ConnectionLife& life_;
  proto::Mux* mux_ = nullptr;
  std::error_code broken_;
  bool all_said_ = false;           ///< the link is closed
  std::uint64_t acknowledged_ = 0;  ///< by the peer's machine, at the last look: bytes
};

}  // namespace connd::daemon
