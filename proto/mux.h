// SPDX-License-Identifier: GPL-3.0-or-later
/// Mux: all channels of one connection, over one stream of plain bytes (PROTOCOL.md), in one of two dialects.
///
/// Sans-IO: bytes and time in, bytes, events and a deadline out. The owner's round is
///   feed(bytes) -> next_event() until there is none -> act on events -> gather output -> encrypt it.
/// Nothing is called back; every member function may be called between two events. One thread.
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
#include <unordered_map>
#include <variant>
#include <vector>

#include "proto/brake.h"
#include "proto/channel.h"
#include "proto/control.h"
#include "proto/control_queue.h"
#include "proto/dialect.h"
#include "proto/keepalive.h"
#include "proto/reason.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/token_bucket.h"

namespace connd::proto {

/// Which half of the channel ids is ours: SPEC section 5 ties it to the TLS role.
enum class MuxSide : std::uint8_t { kClient, kServer };

struct MuxConfig {
  MuxSide side = MuxSide::kClient;
  std::uint32_t max_channels = kMaxChannels;  ///< of both sides together; requests above are refused
  /// What our hello says at most: the owner may refuse requests sooner.
  std::uint32_t told_channels = kMaxChannels;
  std::uint64_t max_buffer = kMaxConnectionBuffer;
  std::uint32_t max_window = kMaxWindow;  ///< what our receive windows grow to; see max_window_for
  Duration keepalive_interval = kKeepaliveInterval;
};

struct MuxEvent {
  enum class Kind : std::uint8_t {
    kHello,      ///< the peer's hello: the protocol is agreed
    kRequested,  ///< the peer asks for a channel of `name`: answer with accept() or refuse()
    kOpened,     ///< our open was accepted
    kRefused,    ///< our open was refused: `reason`, `text`
    kCancelled,  ///< the peer took back a request that we had not answered
    kData,       ///< `data` came for the channel; valid until the next call of next_event()
    kEnd,        ///< the peer will send no more on the channel
    kReset,      ///< the peer aborted it, or broke its rules: `reason`, `text`
    kGoAway,     ///< the peer takes no new requests: `reason`, `text`
    kViolation,  ///< the peer asked for an id it may not have, and was refused: for the log (`text`)
  };
  Kind kind;
  ChannelHandle channel = 0;
  Bytes data{};
  bool unique = false;  ///< of kRequested
  Reason reason = Reason::kClosed;
  std::string name{};
  std::string text{};
};

class Mux {
 public:
  /// `handles` outlives the mux. The first output is our hello, or our version.
  Mux(const MuxConfig& config, std::unique_ptr<Dialect> dialect, HandleSource& handles, TimePoint now);
  ~Mux();
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

  /// The app has bytes to send (or none): puts the channel into the order of senders, or takes it out.
  void set_ready(ChannelHandle channel, bool ready);
  /// It may send at least one byte.
  [[nodiscard]] bool has_credit(ChannelHandle channel) const;
  struct Turn {
    ChannelHandle channel;
    std::size_t bytes;  ///< at most this many may be committed: credit and fairness
  };
  /// Whose turn to send it is; nullopt when nobody can. Each call is one turn.
  std::optional<Turn> next_sender();
  /// Room for `bytes` of body at the end of output(), behind a header's worth: read the app's bytes right into it.
  [[nodiscard]] MutableBytes prepare(std::size_t bytes);
  /// The first `bytes` (at least 1) of what prepare() returned are a frame of `channel`.
  void commit(ChannelHandle channel, std::size_t bytes);
  /// The kernel took `bytes` of the channel's data on the app's side: credit may go back.
  void consumed(ChannelHandle channel, std::size_t bytes, TimePoint now);

  // ---- bytes out ----

  /// Moves control frames that wait into output(), as long as it is short of kOutputTarget.
  void flush_control() { control_.flush(out_, kOutputTarget); }
  /// Plain bytes to encrypt, valid until the next call; then call output_taken().
  [[nodiscard]] Bytes output() const { return out_.data(); }
  void output_taken() { out_.clear(); }
  /// There is something to flush or a sender to serve.
  [[nodiscard]] bool has_output() const;
  /// Encrypt when output() has this much: four full TLS records.
  static constexpr std::size_t kOutputTarget = 65'536;

  // ---- time ----

  [[nodiscard]] TimePoint next_deadline() const;
  /// Sends keepalives; kPeerNotAnswering when the peer is dead. Events may have come of it.
  Result<void> on_timeout(TimePoint now);
  /// Asks the peer for a sign of life now: without a byte within kProbeTime it is dead. For owners who have a reason to
  /// doubt, such as a change of the network. Again while one is under way: changes nothing.
  void probe(TimePoint now);
  /// A ping is out, and nothing has come since.
  [[nodiscard]] bool asking() const { return keepalive_.asking(); }
  /// The time for the answer is over: on_timeout() says that the peer is dead, unless it gets more time.
  [[nodiscard]] bool answer_due(TimePoint now) const { return keepalive_.answer_due(now); }
  /// What was sent to the peer is still arriving there, so that the ping behind it may have yet to: kProbeTime more.
  void allow_more_time(TimePoint now) { keepalive_.allow_more_time(now); }
  /// Nothing has come for so long that who wants something of the peer had better probe it, too: its answer may never
  /// come, and keepalive finds out late.
  [[nodiscard]] bool doubtful(TimePoint now) const { return keepalive_.doubtful(now); }

  // ---- state ----

  [[nodiscard]] const DialectRules& rules() const { return rules_; }
  /// Do not feed for now: see Brake. It ends by consumed(), by on_timeout(), or when a channel goes.
  [[nodiscard]] bool reading_stopped() const { return brake_.stopped(); }
  /// Bytes that may be held for an app at most.
  [[nodiscard]] std::size_t max_held() const;
  [[nodiscard]] bool hello_received() const { return hello_received_; }
  [[nodiscard]] bool going_away() const { return go_away_sent_ || go_away_received_; }
  /// After go_away: every channel has ended, or the time for it is over.
  [[nodiscard]] bool finished(TimePoint now) const;
  /// The time that a goaway leaves to open channels is over.
  [[nodiscard]] bool go_away_over() const { return go_away_over_; }
  /// Channels that take an id, those that are about to end included. Cancelled opens to which no answer has come are
  /// not counted where the peer owes none to the cancelling.
  [[nodiscard]] std::size_t channel_count() const { return by_id_.size() - unanswered_; }
  /// Promised to the peer plus held for apps, beyond kMinWindow each.
  [[nodiscard]] std::uint64_t buffered_bytes() const;
  /// From ping to pong, the last one measured.
  [[nodiscard]] std::optional<Duration> round_trip() const { return keepalive_.round_trip(); }

 private:
  using Kind = MuxEvent::Kind;
  using OptionalEvent = Result<std::optional<MuxEvent>>;

  // mux_receive.cpp
  OptionalEvent next_from_input(TimePoint now);
  OptionalEvent on_piece(const FramePiece& piece, TimePoint now);
  OptionalEvent on_data(Channel& channel, Bytes body, TimePoint now);
  OptionalEvent on_end(Channel& channel);
  OptionalEvent on_end_of_both(Channel& channel);
  OptionalEvent on_message(control::Message& message, TimePoint now);
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
  OptionalEvent on_request(control::ChannelRequest& m, TimePoint now);
  OptionalEvent on_accept(control::ChannelRequest& m, TimePoint now);
  OptionalEvent resolve_unique(Channel& existing, control::ChannelRequest& m, TimePoint now);
  std::optional<MuxEvent> offered(control::ChannelRequest& m, bool unique);
  OptionalEvent bad_request(control::ChannelRequest& m, const Channel* taken);
  OptionalEvent noise(TimePoint now);
  [[nodiscard]] std::optional<Reason> why_not(const control::ChannelRequest& m) const;
  void refuse_id(std::uint64_t id, const std::string& name, Reason reason, std::string_view text);

  // mux.cpp
  Channel* find(ChannelHandle handle) const;
  Channel* find_id(std::uint64_t id) const;
  Channel& add(WireId id, std::string name, ChannelState state, bool ours, bool unique);
  void apply(Channel& channel, ChannelEvent event);
  void leave_wire(Channel& channel);
  void forget(Channel& channel);
  void end_pending(Channel& channel);
  void ended_one_way(Channel& channel);
  void abort(Channel& channel, Reason reason, std::string_view text);
  void abort_by_end(Channel& channel);
  void stall(ChannelHandle handle);
  void send_end(const Channel& channel);
  void update_order(Channel& channel);
  [[nodiscard]] std::optional<WireId> free_id();
  [[nodiscard]] bool is_ours(std::uint64_t id) const;
  [[nodiscard]] bool is_peers(std::uint64_t id) const;
  void ping() { send(control::Ping{keepalive_.number()}); }
  void send(const control::Message& message);
  void send_group(const ByteVector& objects);

  const MuxConfig config_;
  const std::unique_ptr<Dialect> dialect_;
  const DialectRules rules_;  ///< the dialect's
  FrameCodec* const codec_;   ///< the dialect's
  HandleSource& handles_;
  WindowPool pool_;
  Brake brake_;  ///< of a dialect without credit

  std::unordered_map<ChannelHandle, std::unique_ptr<Channel>> channels_;
  std::unordered_map<WireId, Channel*> by_id_;
  std::unordered_map<std::string, Channel*> unique_names_;
  SendOrder order_;
  WireId last_id_;                      ///< ids are taken in turn, so that one is not used again soon
  std::size_t our_pending_names_ = 0;   ///< bytes
  std::size_t peer_pending_names_ = 0;  ///< bytes
  std::size_t unanswered_ = 0;          ///< cancelled opens, where cancelling cannot be said

  Bytes in_;
  std::deque<control::Message> messages_;  ///< of the last control frame, not looked at yet
  std::deque<MuxEvent> made_;              ///< events that no input of their own has brought
  std::optional<WireId> unique_announced_;
  std::error_code failed_;

  ControlQueue control_;
  Buffer out_;

  TokenBucket requests_;
  TokenBucket noise_;
  TokenBucket windows_;
  std::size_t sent_since_window_ = 0;  ///< body bytes not yet turned into tokens of windows_

  bool hello_received_ = false;
  bool go_away_sent_ = false;
  bool go_away_received_ = false;
  TimePoint go_away_deadline_ = kNever;
  bool go_away_over_ = false;  ///< that deadline has come
  std::uint64_t peer_max_channels_ = kMaxChannels;
  std::uint64_t peer_max_name_ = kMaxName;
  Keepalive keepalive_;
};

}  // namespace connd::proto
