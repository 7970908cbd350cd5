// SPDX-License-Identifier: GPL-3.0-or-later
/// Mux: all channels of one connection, over one stream of plain bytes (PROTOCOL.md), in one of two dialects.
///
/// Sans-IO: bytes and time in, bytes, events and a deadline out. The owner's round is
///   feed(bytes) -> next_event() until there is none -> act on events -> gather output -> encrypt it.
/// Nothing is called back; every member function may be called between two events. One thread.
///
/// Its parts, each with a header of its own: MuxReceiver judges what the peer says; MuxChannels is the life of
/// channels, over the MuxTable that holds them; MuxFlow is how much may be sent and held; MuxOutput the bytes that go
/// out.
///
/// Handles: `open` and the event kRequested make one. It is dead, and may no longer be used, after: refuse(), reset(),
/// release(), and the events kRefused, kCancelled and kReset. A channel that ended cleanly in both directions stays
/// known until release(), so that the app may still take what is held for it; where there is no credit, kReset
/// (kStalled) may still end it when too much is held for all of them.
///
/// In Jami's dialect (PROTOCOL.md, "Jami's dialect") there is no kHello: the connection is up at once. EOF ends both
/// directions, whichever side sends it; a reset looks like one to the peer. `unique` is between our own apps alone.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "proto/channel.h"
#include "proto/dialect.h"
#include "proto/flood_guard.h"
#include "proto/going_away.h"
#include "proto/keepalive.h"
#include "proto/mux_channels.h"
#include "proto/mux_config.h"
#include "proto/mux_event.h"
#include "proto/mux_flow.h"
#include "proto/mux_output.h"
#include "proto/mux_receiver.h"
#include "proto/reason.h"
#include "proto/result.h"
#include "proto/time.h"

namespace connd::proto {

class Mux {
 public:
  /// `handles` outlives the mux. The first output is our hello, or our version.
  Mux(const MuxConfig& config, std::unique_ptr<Dialect> dialect, HandleSource& handles, TimePoint now);
  Mux(const Mux&) = delete;
  Mux& operator=(const Mux&) = delete;

  // ---- bytes in ----

  /// Something has come of the peer, be it part of a TLS record: a sign of life.
  void heard(TimePoint now) { keepalive_.heard(now); }
  /// Gives the next bytes of the stream. They are only referred to: call next_event() until it returns nothing before
  /// they go, and before the next feed.
  void feed(Bytes plain, TimePoint now);
  /// The next event, nothing when the input is used up, or the error that ends the connection (every later call
  /// returns it again).
  Result<std::optional<MuxEvent>> next_event(TimePoint now);

  // ---- opening and ending ----

  struct Opened {
    ChannelHandle channel;
    bool joined;  ///< a unique channel of that name was there or on its way: this is its handle
  };
  /// Asks the peer for a channel. Errors: kBadChannelName, kNoFreeChannel, kPeerTakesNoMore, kTooManyPending,
  /// kGoingAway (a unique channel that is there is joined all the same).
  Result<Opened> open(const std::string& name, bool unique, TimePoint now);
  /// The unique channel of this name, open or asked for by either side; 0: there is none.
  [[nodiscard]] ChannelHandle unique_channel(const std::string& name) const;
  /// Answers kRequested. False when the peer has cancelled meanwhile (its event is on the way).
  bool accept(ChannelHandle channel, TimePoint now);
  void refuse(ChannelHandle channel, Reason reason, std::string_view text);
  /// Aborts a channel, or cancels an open: the peer hears `reason`.
  void reset(ChannelHandle channel, Reason reason, std::string_view text);
  /// Our direction ends: EOF, after all data committed so far. Without half close, both end.
  void finish(ChannelHandle channel);
  /// The owner is done with a channel that has ended in both directions.
  void release(ChannelHandle channel);
  /// No new requests from now on, either way; see `finished`. After an error it is all that is still said.
  void go_away(Reason reason, std::string_view text, TimePoint now);

  // ---- data ----

  /// What the events kData and kEnd of the channel, and its turns, give back from now on; see ChannelUser.
  void set_user(ChannelHandle channel, ChannelUser* user);
  /// The app has bytes to send (or none): puts the channel into the order of senders, or takes it out.
  void set_ready(ChannelHandle channel, bool ready);
  /// It may send at least one byte.
  [[nodiscard]] bool has_credit(ChannelHandle channel) const;
  struct Turn {
    ChannelHandle channel;
    ChannelUser* user;
    std::size_t bytes;  ///< at most this many may be committed: credit and fairness
  };
  /// Whose turn to send it is; nullopt when nobody can. Each call is one turn.
  std::optional<Turn> next_sender();
  /// Room for `bytes` of body at the end of output(), behind a header's worth: read the app's bytes right into it.
  [[nodiscard]] MutableBytes prepare(std::size_t bytes) { return output_.prepare(bytes); }
  /// The first `bytes` (at least 1) of what prepare() returned are a frame of `channel`.
  void commit(ChannelHandle channel, std::size_t bytes);
  /// The kernel took `bytes` of the channel's data on the app's side: credit may go back.
  void consumed(ChannelHandle channel, std::size_t bytes, TimePoint now);

  // ---- bytes out ----

  /// Moves control frames that wait into output(), as long as it is short of kOutputTarget.
  void flush_control() { output_.flush_control(); }
  /// Plain bytes to encrypt, valid until the next call; then call output_taken().
  [[nodiscard]] Bytes output() const { return output_.data(); }
  void output_taken() { output_.taken(); }
  /// There is something to flush or a sender to serve.
  [[nodiscard]] bool has_output() const { return !output_.empty() || !flow_.nobody(); }
  /// Encrypt when output() has this much.
  static constexpr std::size_t kOutputTarget = MuxOutput::kTarget;

  // ---- time ----

  [[nodiscard]] TimePoint next_deadline() const;
  /// Sends keepalives; kPeerNotAnswering when the peer is dead. Events may have come of it.
  Result<void> on_timeout(TimePoint now);
  /// Asks the peer for a sign of life now: without a byte within kProbeTime it is dead. For owners who have a reason to
  /// doubt, such as a change of the network. Again while one is under way: changes nothing.
  void probe(TimePoint now);
  /// What was sent to the peer is still arriving there, so that the ping behind it may have yet to: kProbeTime more.
  void allow_more_time(TimePoint now) { keepalive_.allow_more_time(now); }
  /// Whether the peer is asked for a sign of life, and what is known of its answers.
  [[nodiscard]] const Keepalive& keepalive() const { return keepalive_; }

  // ---- state ----

  [[nodiscard]] const DialectRules& rules() const { return dialect_->rules; }
  /// Do not feed for now: see Brake. It ends by consumed(), by on_timeout(), or when a channel goes.
  [[nodiscard]] bool reading_stopped() const { return flow_.stopped(); }
  /// Bytes that may be held for an app at most.
  [[nodiscard]] std::size_t max_held() const { return flow_.max_held(); }
  [[nodiscard]] bool hello_received() const { return receiver_.hello_received(); }
  [[nodiscard]] bool going_away() const { return leaving_.under_way(); }
  /// After go_away: every channel has ended, or the time for it is over.
  [[nodiscard]] bool finished(TimePoint now) const { return leaving_.finished(channels_.table().on_wire() == 0, now); }
  /// The time that a goaway leaves to open channels is over.
  [[nodiscard]] bool go_away_over() const { return leaving_.over(); }
  /// Channels that take an id, those that are about to end included. Cancelled opens to which no answer has come are
  /// not counted where the peer owes none to the cancelling.
  [[nodiscard]] std::size_t channel_count() const {
    return channels_.table().on_wire() - channels_.table().unanswered();
  }
  /// Promised to the peer plus held for apps, beyond kMinWindow each.
  [[nodiscard]] std::uint64_t buffered_bytes() const { return flow_.buffered_bytes(); }

 private:
  [[nodiscard]] std::error_code failed() const;
  void ping();
  void stall(ChannelHandle handle);

  const std::unique_ptr<Dialect> dialect_;
  MuxFlow flow_;
  MuxOutput output_;
  MuxChannels channels_;
  FloodGuard guard_;
  GoingAway leaving_;
  Keepalive keepalive_;
  MuxReceiver receiver_;
  std::deque<MuxEvent> made_;  ///< events that no input of their own has brought
  std::error_code failed_;
};

}  // namespace connd::proto
