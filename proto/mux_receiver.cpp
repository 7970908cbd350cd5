// SPDX-License-Identifier: GPL-3.0-or-later
// Each function handles one thing received and yields at most one event.
#include "proto/mux_receiver.h"

#include <utility>
#include <variant>

#include "proto/error.h"
#include "proto/utf8.h"

namespace connd::proto {
namespace {

/// PROTOCOL.md 15: `closed` and `idle` count as `reset` "in `refuse` and `reset`, where nothing has ended well": taken
/// at its word, truncated data would look complete, and a refusal like an accept.
Reason failure_from_code(std::uint64_t code) {
  const Reason reason = reason_from_code(code);
  return reason_info(reason).exit_code == 0 ? Reason::kReset : reason;
}

constexpr std::nullopt_t kNothing = std::nullopt;

}  // namespace

MuxReceiver::MuxReceiver(MuxSide side, const Parts& parts)
    : side_(side), parts_(parts), rules_(parts.dialect.rules), table_(parts.channels.table()), reader_(parts.dialect) {
  if (!rules_.hello) hello_.emplace();
}

MuxReceiver::OptionalEvent MuxReceiver::next(TimePoint now) {
  while (!parts_.output.overrun()) {
    const auto item = reader_.next();
    if (!item) return item.error();
    if (!*item) return OptionalEvent(kNothing);
    control::Message* const message = (*item)->message;
    // PROTOCOL.md 9, hello: "Anything before it, data included, and a second hello are connection errors."
    const bool is_hello = message != nullptr && std::holds_alternative<control::Hello>(*message);
    if (!hello_ && !is_hello) return Errc::kHelloExpected;
    announced_ = (*item)->announced;
    OptionalEvent event =
        message == nullptr ? on_piece((*item)->piece, now) : std::visit([&](auto& m) { return on(m, now); }, *message);
    if (!event || *event) return event;
  }
  return OptionalEvent(kNothing);
}

// ---- data and ends ----

MuxReceiver::OptionalEvent MuxReceiver::on_piece(const FramePiece& piece, TimePoint now) {
  Channel* channel = table_.find_id(piece.channel);
  if (channel == nullptr) {
    // PROTOCOL.md 10, the table of what is received, "none": data and EOF are connection errors. 17: "Data and EOF for
    // an id that is not open are ignored."
    if (rules_.known_ids) return Errc::kUnknownChannel;
    return OptionalEvent(kNothing);
  }
  return piece.kind == FramePiece::Kind::kData ? on_data(*channel, piece.body, now) : on_end(*channel);
}

MuxReceiver::OptionalEvent MuxReceiver::on_data(Channel& channel, Bytes body, TimePoint now) {
  // PROTOCOL.md 10: data is "dropped" in requested, offered and reset-sent.
  if (channel.state != ChannelState::kOpen) return OptionalEvent(kNothing);
  // PROTOCOL.md 10, open: "after EOF, or beyond the credit: reset `protocol-error`".
  if (channel.eof_received) return broke_rules(channel, Errc::kDataAfterEof);
  if (const auto taken = parts_.flow.received(channel, body.size(), now); !taken) {
    return broke_rules(channel, taken.error());
  }
  return std::optional(MuxEvent{.kind = Kind::kData, .channel = channel.handle, .user = channel.user, .data = body});
}

MuxReceiver::OptionalEvent MuxReceiver::on_end(Channel& channel) {
  if (!rules_.half_close) return on_end_of_both(channel);
  if (channel.state == ChannelState::kResetSent) {
    // PROTOCOL.md 10, "A reset behind our EOF": the peer forgot the channel at ours, and will not answer the reset.
    parts_.channels.peer_finished(channel);
    return OptionalEvent(kNothing);
  }
  // PROTOCOL.md 10: EOF is "dropped" in requested and offered.
  if (channel.state != ChannelState::kOpen) return OptionalEvent(kNothing);
  // PROTOCOL.md 10, open: "a second one: reset `protocol-error`".
  if (channel.eof_received) return broke_rules(channel, Errc::kDataAfterEof);
  const MuxEvent event{.kind = Kind::kEnd, .channel = channel.handle, .user = channel.user};
  parts_.channels.peer_finished(channel);
  return std::optional(event);
}

MuxReceiver::OptionalEvent MuxReceiver::on_end_of_both(Channel& channel) {
  const ChannelHandle handle = channel.handle;
  if (channel.state == ChannelState::kOffered) {
    // PROTOCOL.md 17: "EOF before our answer takes the request back."
    table_.apply(channel, ChannelEvent::kResetReceived);
    table_.forget(channel);
    return std::optional(MuxEvent{.kind = Kind::kCancelled, .channel = handle, .reason = Reason::kReset});
  }
  // PROTOCOL.md 17: "Data and EOF for an id that is not open are ignored."
  if (channel.state != ChannelState::kOpen) return OptionalEvent(kNothing);
  const MuxEvent event{.kind = Kind::kEnd, .channel = handle, .user = channel.user};
  parts_.channels.peer_finished_both(channel);
  return std::optional(event);
}

/// What resets one channel, and harms no other.
MuxReceiver::OptionalEvent MuxReceiver::broke_rules(Channel& channel, std::error_code error) {
  const ChannelHandle handle = channel.handle;
  const std::string text = error.message();
  parts_.channels.abort(channel, Reason::kProtocolError, text);
  return std::optional(
      MuxEvent{.kind = Kind::kReset, .channel = handle, .reason = Reason::kProtocolError, .text = text});
}

// ---- requests and answers ----

MuxReceiver::OptionalEvent MuxReceiver::on(control::ChannelRequest& m, TimePoint now) {
  parts_.guard.channel_came();
  return m.is_answer ? on_accept(m, now) : on_request(m, now);
}

MuxReceiver::OptionalEvent MuxReceiver::on_request(control::ChannelRequest& m, TimePoint now) {
  // PROTOCOL.md 14, "requests".
  if (!parts_.guard.request(now)) return Errc::kControlFlood;

  Channel* previous = table_.find_id(m.channel);
  if (previous != nullptr && previous->state == ChannelState::kResetSent && !previous->ours) {
    // PROTOCOL.md 10, reset-sent: "offered anew, if the peer owns the id": its owner had seen both EOFs before our
    // reset reached it, and dropped the reset behind this request.
    table_.apply(*previous, ChannelEvent::kResetReceived);
    previous = nullptr;
  }
  if (previous != nullptr || !table_.is_peers(m.channel)) return bad_request(m, previous);
  if (const auto reason = why_not(m)) {
    parts_.channels.refuse_id(m.channel, m.name, *reason, reason_info(*reason).text);
    return OptionalEvent(kNothing);
  }
  // PROTOCOL.md 11: "A plain request never joins a unique channel."
  Channel* existing = announced_ ? table_.find_unique(m.name) : nullptr;
  if (existing != nullptr) return on_duplicate(*existing, m, now);
  const Channel& channel = table_.add(static_cast<WireId>(m.channel), m.name, ChannelState::kOffered, announced_);
  return std::optional(
      MuxEvent{.kind = Kind::kRequested, .channel = channel.handle, .unique = announced_, .name = std::move(m.name)});
}

/// A request for an id that is not free (`taken`), or not the peer's to ask for.
MuxReceiver::OptionalEvent MuxReceiver::bad_request(control::ChannelRequest& m, const Channel* taken) {
  // PROTOCOL.md 10: "A request for an id of the **receiver's own half** is answered by nothing: the receiver may itself
  // wait for an answer on that id, and its sender would take the refusal for its own." 17, where there are no halves:
  // "If both sides have asked for one id at once, each declines the other's request", and "A request for an id that is
  // open, offered or reserved is ignored": a peer that asks for an id that it has open would end that by a refusal.
  const bool crossed = taken != nullptr && taken->ours && taken->state != ChannelState::kOpen;
  const std::string text = make_error_code(Errc::kRequestBadId).message();
  if (rules_.id_halves ? !table_.is_ours(m.channel) : crossed) {
    parts_.channels.refuse_id(m.channel, m.name, Reason::kProtocolError, text);
  }
  return std::optional(MuxEvent{.kind = Kind::kViolation, .reason = Reason::kProtocolError, .text = text});
}

std::optional<Reason> MuxReceiver::why_not(const control::ChannelRequest& m) const {
  // PROTOCOL.md 13, goaway: a request "that crosses it is refused with `shutting-down`".
  if (parts_.leaving.under_way()) return Reason::kShuttingDown;
  // PROTOCOL.md 14: "Anything else is refused with `bad-name`"; "beyond the receiver's `max_channels` with
  // `resource-limit`; when the names of requests that wait for its answer would pass 4,194,304 bytes, with `busy`".
  if (m.name.size() > kMaxName || !is_utf8(m.name)) return Reason::kBadName;
  if (parts_.channels.full()) return Reason::kResourceLimit;
  if (table_.peer_pending_names() + m.name.size() > kMaxPendingNameBytes) return Reason::kBusy;
  return std::nullopt;
}

/// A unique request for a name of which a unique channel is there or on its way.
MuxReceiver::OptionalEvent MuxReceiver::on_duplicate(Channel& existing, control::ChannelRequest& m, TimePoint now) {
  // PROTOCOL.md 11: of a channel "offered or open: `refuse duplicate`"; if both sides' requests cross, "the TLS
  // client's wins. The client refuses the server's with `duplicate`."
  const bool crossed = existing.state == ChannelState::kRequested;
  if (!crossed || side_ == MuxSide::kClient) {
    parts_.channels.refuse_id(m.channel, m.name, Reason::kDuplicate, reason_info(Reason::kDuplicate).text);
    return OptionalEvent(kNothing);
  }
  // PROTOCOL.md 11: "The server accepts the client's at once, without asking a listener: its own app has asked for this
  // very channel. The server's own request waits for its refusal".
  Channel& winner = table_.supersede(existing, static_cast<WireId>(m.channel));
  parts_.channels.accept(winner, now);
  return std::optional(MuxEvent{.kind = Kind::kOpened, .channel = winner.handle, .unique = true});
}

MuxReceiver::OptionalEvent MuxReceiver::on_accept(control::ChannelRequest& m, TimePoint now) {
  Channel* channel = table_.find_id(m.channel);
  const bool cancelled = channel != nullptr && channel->state == ChannelState::kResetSent && !rules_.resets;
  // PROTOCOL.md 10: an accept is "ignored" in all states but requested. In reset-sent the peer will hear our reset.
  if (!cancelled && (channel == nullptr || channel->state != ChannelState::kRequested)) return noise(now);
  // PROTOCOL.md 10, requested: "another name: **connection error**".
  if (channel->name != m.name) return Errc::kAcceptNameDiffers;
  if (cancelled) {
    parts_.channels.end_cancelled(*channel);
    return OptionalEvent(kNothing);
  }
  table_.apply(*channel, ChannelEvent::kAccepted);
  parts_.flow.opened(*channel);
  if (channel->orphan) {
    // PROTOCOL.md 11: the server's own request, superseded by the client's, "is reset with `duplicate`" if it is
    // accepted all the same.
    parts_.channels.abort(*channel, Reason::kDuplicate, reason_info(Reason::kDuplicate).text);
    return OptionalEvent(kNothing);
  }
  return std::optional(MuxEvent{.kind = Kind::kOpened, .channel = channel->handle, .unique = channel->unique});
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Refuse& m, TimePoint now) {
  Channel* channel = table_.find_id(m.channel);
  // PROTOCOL.md 10: a refusal is "ignored" but in requested, and in reset-sent "if we own the id".
  if (channel == nullptr || !channel->ours || channel->state == ChannelState::kOpen) return noise(now);
  // PROTOCOL.md 17: where both sides may ask for one id, "an answer counts for the request whose name it repeats".
  if (!rules_.id_halves && channel->name != m.name) return noise(now);
  const ChannelHandle handle = channel->handle;
  const bool orphan = channel->orphan;
  table_.apply(*channel, ChannelEvent::kRefused);  // an orphan is gone with this
  if (orphan) return OptionalEvent(kNothing);
  table_.forget(*channel);
  return std::optional(
      MuxEvent{.kind = Kind::kRefused, .channel = handle, .reason = failure_from_code(m.code), .text = m.text});
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Reset& m, TimePoint now) {
  Channel* channel = table_.find_id(m.channel);
  // PROTOCOL.md 10: a reset is "ignored" in none and requested.
  if (channel == nullptr || channel->state == ChannelState::kRequested) return noise(now);
  const ChannelHandle handle = channel->handle;
  const bool offered = channel->state == ChannelState::kOffered;
  if (!parts_.channels.peer_reset(*channel, m.code)) return OptionalEvent(kNothing);
  return std::optional(MuxEvent{.kind = offered ? Kind::kCancelled : Kind::kReset,
                                .channel = handle,
                                .reason = failure_from_code(m.code),
                                .text = m.text});
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Unique& /*m*/, TimePoint now) {
  // PROTOCOL.md 14, "requests": "each request; each `unique`".
  if (!parts_.guard.request(now)) return Errc::kControlFlood;
  return OptionalEvent(kNothing);
}

// ---- credit ----

MuxReceiver::OptionalEvent MuxReceiver::on(control::Window& m, TimePoint now) {
  // PROTOCOL.md 14, "windows".
  if (!parts_.guard.window(now)) return Errc::kControlFlood;
  Channel* channel = table_.find_id(m.channel);
  // PROTOCOL.md 10: credit counts in offered (the opener's first window comes right behind its request) and in open.
  const bool counts =
      channel != nullptr && (channel->state == ChannelState::kOpen || channel->state == ChannelState::kOffered);
  // PROTOCOL.md 12: "Credit for a direction that has ended changes nothing, whatever n is": it crossed our EOF.
  if (!counts || channel->eof_sent) return OptionalEvent(kNothing);
  const auto added = parts_.flow.granted(*channel, m.bytes);
  if (added) return OptionalEvent(kNothing);
  // PROTOCOL.md 12: n = 0 or too much "resets the channel with `protocol-error` (in *offered*: refuses it)".
  if (channel->state == ChannelState::kOpen) return broke_rules(*channel, added.error());
  const ChannelHandle handle = channel->handle;
  const std::string text = added.error().message();
  parts_.channels.refuse(*channel, Reason::kProtocolError, text);
  return std::optional(
      MuxEvent{.kind = Kind::kCancelled, .channel = handle, .reason = Reason::kProtocolError, .text = text});
}

// ---- the connection ----

MuxReceiver::OptionalEvent MuxReceiver::on(control::Hello& m, TimePoint now) {
  if (!rules_.hello) {
    // PROTOCOL.md 17: "A peer that has not said at least 1 is sent no beacons".
    parts_.keepalive.set_answers_pings(m.version >= kJamiVersion);
    return noise(now);
  }
  // PROTOCOL.md 9, hello: "a second hello" is a connection error; "`v` is 1; 0 is a connection error, a higher one is
  // fine": a later version keeps what version 1 says (16).
  if (hello_) return Errc::kHelloRepeated;
  if (m.version == 0) return Errc::kUnsupportedVersion;
  hello_ = m;
  return std::optional(MuxEvent{.kind = Kind::kHello});
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Ping& m, TimePoint now) {
  if (!parts_.guard.noise(now)) return Errc::kControlFlood;
  // PROTOCOL.md 13: "A ping is answered by `pong` with the same n at once."
  parts_.output.send(control::Pong{m.number});
  return OptionalEvent(kNothing);
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Pong& m, TimePoint now) {
  // PROTOCOL.md 17: Jami's carry no number.
  parts_.keepalive.pong(rules_.hello ? m.number : parts_.keepalive.number(), now);
  return noise(now);
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::GoAway& m, TimePoint now) {
  // PROTOCOL.md 13: "A second goaway is ignored", and counted (14).
  if (!parts_.leaving.hear(now)) return noise(now);
  return std::optional(MuxEvent{.kind = Kind::kGoAway, .reason = reason_from_code(m.code), .text = m.text});
}

MuxReceiver::OptionalEvent MuxReceiver::on(control::Unknown& /*m*/, TimePoint now) {
  // PROTOCOL.md 9: "A map whose `t` is unknown is ignored, and counted".
  return noise(now);
}

/// PROTOCOL.md 14, "noise": what is allowed and means nothing, counted so that it cannot go on for ever.
MuxReceiver::OptionalEvent MuxReceiver::noise(TimePoint now) {
  if (!parts_.guard.noise(now)) return Errc::kControlFlood;
  return OptionalEvent(kNothing);
}

}  // namespace connd::proto
