// SPDX-License-Identifier: GPL-3.0-or-later
// What comes from the peer. Each function handles one piece and yields at most one event.
#include <algorithm>
#include <cassert>

#include "proto/error.h"
#include "proto/mux.h"
#include "proto/utf8.h"

namespace connd::proto {
namespace {

/// The reason of a refusal or reset. A code that means a clean end has no place there: taken at its word, truncated
/// data would look complete, and a refusal like an accept.
Reason failure_from_code(std::uint64_t code) {
  const Reason reason = reason_from_code(code);
  return reason_info(reason).exit_code == 0 ? Reason::kReset : reason;
}

}  // namespace

void Mux::feed(Bytes plain, TimePoint now) {
  assert(in_.empty());
  in_ = plain;
  heard(now);
}

Result<std::optional<MuxEvent>> Mux::next_event(TimePoint now) {
  while (!failed_) {
    if (!made_.empty()) {
      MuxEvent event = std::move(made_.front());
      made_.pop_front();
      return std::optional(std::move(event));
    }
    if (messages_.empty() && in_.empty()) return std::optional<MuxEvent>{};
    OptionalEvent event = next_from_input(now);
    if (!event) {
      failed_ = event.error();
    } else if (*event) {
      return event;
    }
  }
  return failed_;
}

Result<std::optional<MuxEvent>> Mux::next_from_input(TimePoint now) {
  if (!messages_.empty()) {
    control::Message message = std::move(messages_.front());
    messages_.pop_front();
    return on_message(message, now);
  }
  auto piece = codec_->next(in_);
  if (!piece) return piece.error();
  if (!*piece) return std::optional<MuxEvent>{};
  return on_piece(**piece, now);
}

Result<std::optional<MuxEvent>> Mux::on_piece(const FramePiece& piece, TimePoint now) {
  if (piece.kind == FramePiece::Kind::kControl) {
    auto messages = dialect_->decode(piece);
    if (!messages) return messages.error();
    unique_announced_.reset();  // it counts within one frame only
    messages_.assign(std::make_move_iterator(messages->begin()), std::make_move_iterator(messages->end()));
    return std::optional<MuxEvent>{};
  }
  if (!hello_received_) return Errc::kHelloExpected;
  Channel* channel = find_id(piece.channel);
  if (channel == nullptr) {
    if (rules_.known_ids) return Errc::kUnknownChannel;
    return std::optional<MuxEvent>{};  // it crossed our EOF
  }
  return piece.kind == FramePiece::Kind::kData ? on_data(*channel, piece.body, now) : on_end(*channel);
}

Result<std::optional<MuxEvent>> Mux::on_data(Channel& channel, Bytes body, TimePoint now) {
  // Between request and answer, and after our reset, it belongs to nobody any more.
  if (channel.state != ChannelState::kOpen) return std::optional<MuxEvent>{};
  if (!rules_.credit) {
    brake_.held(channel.handle, body.size(), now);
    return std::optional(MuxEvent{.kind = Kind::kData, .channel = channel.handle, .data = body});
  }
  std::error_code error;
  if (channel.eof_received) {
    error = Errc::kDataAfterEof;
  } else if (const auto taken = channel.receive.received(body.size()); !taken) {
    error = taken.error();
  }
  const ChannelHandle handle = channel.handle;
  if (error) {
    abort(channel, Reason::kProtocolError, error.message());
    return std::optional(
        MuxEvent{.kind = Kind::kReset, .channel = handle, .reason = Reason::kProtocolError, .text = error.message()});
  }
  return std::optional(MuxEvent{.kind = Kind::kData, .channel = handle, .data = body});
}

/// EOF where there is no half close.
Result<std::optional<MuxEvent>> Mux::on_end_of_both(Channel& channel) {
  const ChannelHandle handle = channel.handle;
  if (channel.state == ChannelState::kOffered) {
    // Its sender has given the request up before our answer.
    apply(channel, ChannelEvent::kResetReceived);
    forget(channel);
    return std::optional(MuxEvent{.kind = Kind::kCancelled, .channel = handle, .reason = Reason::kReset});
  }
  if (channel.state != ChannelState::kOpen) return std::optional<MuxEvent>{};
  channel.eof_sent = channel.eof_received = true;
  ended_one_way(channel);
  return std::optional(MuxEvent{.kind = Kind::kEnd, .channel = handle});
}

Result<std::optional<MuxEvent>> Mux::on_end(Channel& channel) {
  if (!rules_.half_close) return on_end_of_both(channel);
  if (channel.state == ChannelState::kResetSent) {
    channel.eof_received = true;
    ended_one_way(channel);
    return std::optional<MuxEvent>{};
  }
  if (channel.state != ChannelState::kOpen) return std::optional<MuxEvent>{};
  const ChannelHandle handle = channel.handle;
  if (channel.eof_received) {
    const std::string text = make_error_code(Errc::kDataAfterEof).message();
    abort(channel, Reason::kProtocolError, text);
    return std::optional(
        MuxEvent{.kind = Kind::kReset, .channel = handle, .reason = Reason::kProtocolError, .text = text});
  }
  channel.eof_received = true;
  channel.receive.end();
  ended_one_way(channel);
  return std::optional(MuxEvent{.kind = Kind::kEnd, .channel = handle});
}

Result<std::optional<MuxEvent>> Mux::on_message(control::Message& message, TimePoint now) {
  if (!hello_received_ && !std::holds_alternative<control::Hello>(message)) return Errc::kHelloExpected;
  // `unique` announces the object that follows it, and nothing else.
  const bool keeps_announcement = std::holds_alternative<control::ChannelRequest>(message);
  if (!keeps_announcement) unique_announced_.reset();
  return std::visit([&](auto& m) { return on(m, now); }, message);
}

Result<std::optional<MuxEvent>> Mux::on(control::Hello& m, TimePoint now) {
  if (!rules_.hello) {
    keepalive_.set_answers_pings(m.version >= kJamiVersion);
    return noise(now);
  }
  if (hello_received_) return Errc::kHelloRepeated;
  // A later version keeps what version 1 says and adds maps that we ignore; 0 was never defined.
  if (m.version == 0) return Errc::kUnsupportedVersion;
  hello_received_ = true;
  peer_max_channels_ = m.max_channels;
  peer_max_name_ = m.max_name;
  return std::optional(MuxEvent{.kind = Kind::kHello});
}

Result<std::optional<MuxEvent>> Mux::on(control::ChannelRequest& m, TimePoint now) {
  windows_.add(1);  // for the first credit, which comes behind each request and accept; these have bounds of their own
  return m.is_answer ? on_accept(m, now) : on_request(m, now);
}

Result<std::optional<MuxEvent>> Mux::on_request(control::ChannelRequest& m, TimePoint now) {
  const bool unique = unique_announced_ && *unique_announced_ == m.channel;
  unique_announced_.reset();
  if (!requests_.take(now)) return Errc::kControlFlood;

  Channel* previous = find_id(m.channel);
  if (previous != nullptr && previous->state == ChannelState::kResetSent && !previous->ours) {
    // The id's owner had seen both EOFs before our reset reached it, and dropped the reset behind this request.
    apply(*previous, ChannelEvent::kResetReceived);
    previous = nullptr;
  }
  if (previous != nullptr || !is_peers(m.channel)) return bad_request(m, previous);
  if (const auto reason = why_not(m)) {
    refuse_id(m.channel, m.name, *reason, reason_info(*reason).text);
    return std::optional<MuxEvent>{};
  }
  if (unique) {
    const auto existing = unique_names_.find(m.name);
    if (existing != unique_names_.end()) return resolve_unique(*existing->second, m, now);
  }
  return offered(m, unique);
}

/// A request for an id that is not free (`taken`), or not the peer's to ask for.
Result<std::optional<MuxEvent>> Mux::bad_request(control::ChannelRequest& m, const Channel* taken) {
  // With halves, an id of ours that we wait for an answer on must not hear a refusal that it would take for its own:
  // nothing is sent for ids of our half. Without, both sides may have asked for one id at once, and each hears of its
  // own; a peer that asks for an id that it has open would end that by a refusal.
  const bool crossed = taken != nullptr && taken->ours && taken->state != ChannelState::kOpen;
  if (rules_.id_halves ? !is_ours(m.channel) : crossed) {
    refuse_id(m.channel, m.name, Reason::kProtocolError, make_error_code(Errc::kRequestBadId).message());
  }
  return std::optional(MuxEvent{.kind = Kind::kViolation,
                                .reason = Reason::kProtocolError,
                                .text = make_error_code(Errc::kRequestBadId).message()});
}

std::optional<Reason> Mux::why_not(const control::ChannelRequest& m) const {
  if (going_away()) return Reason::kShuttingDown;
  if (m.name.size() > kMaxName || !is_utf8(m.name)) return Reason::kBadName;
  if (by_id_.size() >= config_.max_channels) return Reason::kResourceLimit;
  if (peer_pending_names_ + m.name.size() > kMaxPendingNameBytes) return Reason::kBusy;
  return std::nullopt;
}

std::optional<MuxEvent> Mux::offered(control::ChannelRequest& m, bool unique) {
  Channel& channel = add(static_cast<WireId>(m.channel), m.name, ChannelState::kOffered, false, unique);
  peer_pending_names_ += m.name.size();
  return MuxEvent{.kind = Kind::kRequested, .channel = channel.handle, .unique = unique, .name = std::move(m.name)};
}

/// A unique request for a name of which a unique channel is there or on its way.
Result<std::optional<MuxEvent>> Mux::resolve_unique(Channel& existing, control::ChannelRequest& m, TimePoint now) {
  const bool crossed = existing.state == ChannelState::kRequested;
  if (!crossed || config_.side == MuxSide::kClient) {
    refuse_id(m.channel, m.name, Reason::kDuplicate, reason_info(Reason::kDuplicate).text);
    return std::optional<MuxEvent>{};
  }
  // The TLS client's request wins. Our app's open is resolved by the peer's channel: the handle moves to it, and our
  // own request, which the peer will refuse, waits for that without an owner.
  auto winner =
      std::make_unique<Channel>(existing.handle, static_cast<WireId>(m.channel), m.name, ChannelState::kOffered, pool_);
  winner->unique = true;
  const ChannelHandle handle = existing.handle;
  auto loser = std::exchange(channels_[handle], nullptr);
  loser->handle = handles_.take();
  loser->orphan = true;
  loser->unique = false;
  unique_names_[m.name] = winner.get();
  by_id_.emplace(winner->id, winner.get());
  peer_pending_names_ += m.name.size();
  channels_[loser->handle] = std::move(loser);
  channels_[handle] = std::move(winner);
  accept(handle, now);
  return std::optional(MuxEvent{.kind = Kind::kOpened, .channel = handle, .unique = true});
}

Result<std::optional<MuxEvent>> Mux::on_accept(control::ChannelRequest& m, TimePoint now) {
  Channel* channel = find_id(m.channel);
  if (channel != nullptr && channel->state == ChannelState::kResetSent && !rules_.resets) {
    // The open was cancelled, which the peer hears of now.
    if (channel->name != m.name) return Errc::kAcceptNameDiffers;
    send_end(*channel);
    --unanswered_;
    apply(*channel, ChannelEvent::kResetReceived);
    return std::optional<MuxEvent>{};
  }
  // Late: the open was cancelled, and the peer will hear our reset.
  if (channel == nullptr || channel->state != ChannelState::kRequested) return noise(now);
  if (channel->name != m.name) return Errc::kAcceptNameDiffers;
  apply(*channel, ChannelEvent::kAccepted);
  if (!rules_.credit) (void)channel->credit.add(kMaxCredit);
  if (channel->orphan) {
    // Its open was resolved by another channel; a peer that follows the rules refuses it.
    abort(*channel, Reason::kDuplicate, reason_info(Reason::kDuplicate).text);
    return std::optional<MuxEvent>{};
  }
  return std::optional(MuxEvent{.kind = Kind::kOpened, .channel = channel->handle, .unique = channel->unique});
}

Result<std::optional<MuxEvent>> Mux::on(control::Window& m, TimePoint now) {
  const std::size_t earned = sent_since_window_ / kBytesPerWindow;
  sent_since_window_ -= earned * kBytesPerWindow;
  windows_.add(static_cast<std::uint32_t>(std::min<std::size_t>(earned, kWindowBurst)));
  if (!windows_.take(now)) return Errc::kControlFlood;
  Channel* channel = find_id(m.channel);
  if (channel == nullptr) return std::optional<MuxEvent>{};  // credit that crossed our EOF
  // The opener's first window comes right behind its request, before our answer.
  const bool takes_credit = channel->state == ChannelState::kOpen || channel->state == ChannelState::kOffered;
  // PROTOCOL.md 12: "Credit for a direction that has ended changes nothing, whatever n is": it crossed our EOF.
  if (!takes_credit || channel->eof_sent) return std::optional<MuxEvent>{};
  if (const auto added = channel->credit.add(m.bytes); !added) {
    const ChannelHandle handle = channel->handle;
    const std::string text = added.error().message();
    if (channel->state == ChannelState::kOffered) {
      refuse(handle, Reason::kProtocolError, text);
      return std::optional(
          MuxEvent{.kind = Kind::kCancelled, .channel = handle, .reason = Reason::kProtocolError, .text = text});
    }
    abort(*channel, Reason::kProtocolError, text);
    return std::optional(
        MuxEvent{.kind = Kind::kReset, .channel = handle, .reason = Reason::kProtocolError, .text = text});
  }
  update_order(*channel);
  return std::optional<MuxEvent>{};
}

Result<std::optional<MuxEvent>> Mux::on(control::Refuse& m, TimePoint now) {
  Channel* channel = find_id(m.channel);
  if (channel == nullptr || !channel->ours || channel->state == ChannelState::kOpen) return noise(now);
  // Not ours to take, but that of a request of the peer's that crossed ours.
  if (!rules_.id_halves && channel->name != m.name) return noise(now);
  const ChannelHandle handle = channel->handle;
  const bool told = channel->orphan;
  if (told && !rules_.resets) --unanswered_;
  apply(*channel, ChannelEvent::kRefused);  // an orphan is gone with this
  if (told) return std::optional<MuxEvent>{};
  forget(*channel);
  return std::optional(
      MuxEvent{.kind = Kind::kRefused, .channel = handle, .reason = failure_from_code(m.code), .text = m.text});
}

Result<std::optional<MuxEvent>> Mux::on(control::Reset& m, TimePoint now) {
  Channel* channel = find_id(m.channel);
  if (channel == nullptr || channel->state == ChannelState::kRequested) return noise(now);
  const ChannelHandle handle = channel->handle;
  const ChannelState before = channel->state;
  if (before == ChannelState::kResetSent) {
    apply(*channel, ChannelEvent::kResetReceived);
    return std::optional<MuxEvent>{};
  }
  send(control::Reset{channel->id, m.code, {}});  // the answer, once
  apply(*channel, ChannelEvent::kResetReceived);
  forget(*channel);
  return std::optional(MuxEvent{.kind = before == ChannelState::kOffered ? Kind::kCancelled : Kind::kReset,
                                .channel = handle,
                                .reason = failure_from_code(m.code),
                                .text = m.text});
}

Result<std::optional<MuxEvent>> Mux::on(control::Ping& m, TimePoint now) {
  if (!noise_.take(now)) return Errc::kControlFlood;
  send(control::Pong{m.number});
  return std::optional<MuxEvent>{};
}

Result<std::optional<MuxEvent>> Mux::on(control::Pong& m, TimePoint now) {
  keepalive_.pong(rules_.hello ? m.number : keepalive_.number(), now);  // Jami's carry none
  return noise(now);
}

Result<std::optional<MuxEvent>> Mux::on(control::GoAway& m, TimePoint now) {
  if (go_away_received_) return noise(now);
  go_away_received_ = true;
  go_away_deadline_ = std::min(go_away_deadline_, now + kGoAwayTime);
  return std::optional(MuxEvent{.kind = Kind::kGoAway, .reason = reason_from_code(m.code), .text = m.text});
}

Result<std::optional<MuxEvent>> Mux::on(control::Unique& m, TimePoint now) {
  if (!requests_.take(now)) return Errc::kControlFlood;
  if (m.channel <= kReservedChannel) unique_announced_ = static_cast<WireId>(m.channel);
  return std::optional<MuxEvent>{};
}

Result<std::optional<MuxEvent>> Mux::on(control::Unknown& /*m*/, TimePoint now) {
  return noise(now);
}

/// Something that is allowed and means nothing: counted, so that it cannot go on for ever.
Result<std::optional<MuxEvent>> Mux::noise(TimePoint now) {
  if (!noise_.take(now)) return Errc::kControlFlood;
  return std::optional<MuxEvent>{};
}

}  // namespace connd::proto
