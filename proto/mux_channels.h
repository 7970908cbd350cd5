// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxChannels: the life of a connection's channels as both sides agree on it: asking, accepting, refusing, ending and
/// aborting, with what the peer is told of each (PROTOCOL.md, sections 10 and 11; 17 for Jami's dialect).
///
/// Sans-IO. What the peer says is read by MuxReceiver, which uses this for what follows from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/channel.h"
#include "proto/control.h"
#include "proto/mux_config.h"
#include "proto/mux_flow.h"
#include "proto/mux_output.h"
#include "proto/mux_table.h"
#include "proto/reason.h"
#include "proto/result.h"
#include "proto/time.h"

namespace connd::proto {

class MuxChannels {
 public:
  /// All outlive it.
  MuxChannels(const MuxConfig& config, const DialectRules& rules, HandleSource& handles, MuxFlow& flow,
              MuxOutput& output)
      : rules_(rules),
        max_channels_(config.max_channels),
        flow_(flow),
        output_(output),
        table_(config.side, rules, handles, flow) {}

  [[nodiscard]] MuxTable& table() { return table_; }
  [[nodiscard]] const MuxTable& table() const { return table_; }
  /// As many as this side takes are there.
  [[nodiscard]] bool full() const { return table_.on_wire() >= max_channels_; }

  // ---- opening ----

  /// Asks the peer, which has said what it takes by `peer`. Errors: kBadChannelName, kNoFreeChannel, kPeerTakesNoMore,
  /// kTooManyPending.
  Result<ChannelHandle> open(const std::string& name, bool unique, const control::Hello& peer, TimePoint now);
  /// Of a channel in kOffered.
  void accept(Channel& channel, TimePoint now);
  /// Of a channel in kOffered, which is forgotten.
  void refuse(Channel& channel, Reason reason, std::string_view text);
  /// Refuses a request that has no channel here.
  void refuse_id(std::uint64_t id, const std::string& name, Reason reason, std::string_view text);

  // ---- ending ----

  /// Our direction ends, behind all data committed so far. Without half close, both end.
  void finish(Channel& channel);
  /// The peer's direction has ended.
  void peer_finished(Channel& channel);
  /// The same where there is no half close: it ends both.
  void peer_finished_both(Channel& channel);
  /// Ends a channel of any state; it is known to nobody outside from now on.
  void reset(Channel& channel, Reason reason, std::string_view text);
  /// The same of one that was asked for, or is open.
  void abort(Channel& channel, Reason reason, std::string_view text);
  /// The peer's reset has come, and is answered if it asks for that. True: somebody outside knew the channel, which is
  /// forgotten.
  bool peer_reset(Channel& channel, std::uint64_t code);
  /// An accept has come for an open that was cancelled where the dialect could not say so: it hears of that now.
  void end_cancelled(Channel& channel);

 private:
  void abort_by_end(Channel& channel);
  void half_ended(Channel& channel);

  const DialectRules& rules_;
  const std::uint32_t max_channels_;
  MuxFlow& flow_;
  MuxOutput& output_;
  MuxTable table_;
};

}  // namespace connd::proto
