// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_channels.h"

#include <cassert>

#include "proto/error.h"
#include "proto/utf8.h"

namespace connd::proto {

// ---- opening ----

Result<ChannelHandle> MuxChannels::open(const std::string& name, bool unique, const control::Hello& peer,
                                        TimePoint now) {
  // PROTOCOL.md 14: "Names are 0 to 65,000 bytes of well-formed UTF-8"; 9, hello: "The peer requests no more than
  // that".
  if (name.size() > kMaxName || name.size() > peer.max_name || !is_utf8(name)) return Errc::kBadChannelName;
  if (table_.our_pending_names() + name.size() > kMaxPendingNameBytes) return Errc::kTooManyPending;
  // A request that is taken back goes out all the same: only what the peer causes may pass the bound of the backlog.
  if (output_.waiting() + name.size() > kMaxControlBacklog / 2) return Errc::kTooManyPending;
  if (full()) return Errc::kNoFreeChannel;
  if (table_.on_wire() >= peer.max_channels) return Errc::kPeerTakesNoMore;
  const std::optional<WireId> id = table_.free_id();
  if (!id) return Errc::kNoFreeChannel;

  Channel& channel = table_.add(*id, name, ChannelState::kRequested, unique);
  // PROTOCOL.md 10: "The owner sends the request and, directly behind it in the same frame, its first `window`."
  ByteVector group;
  if (unique) output_.encode(control::Unique{channel.id}, group);
  output_.encode(control::ChannelRequest{name, channel.id, false}, group);
  if (rules_.credit) output_.encode(control::Window{channel.id, flow_.first_window(channel, now)}, group);
  output_.send_group(group);
  return channel.handle;
}

void MuxChannels::accept(Channel& channel, TimePoint now) {
  assert(channel.state == ChannelState::kOffered);
  table_.apply(channel, ChannelEvent::kAccepted);
  // PROTOCOL.md 10: "The peer answers with the same array and `true`, its own first `window` directly behind it".
  ByteVector group;
  output_.encode(control::ChannelRequest{channel.name, channel.id, true}, group);
  if (rules_.credit) output_.encode(control::Window{channel.id, flow_.first_window(channel, now)}, group);
  output_.send_group(group);
  flow_.opened(channel);
}

void MuxChannels::refuse(Channel& channel, Reason reason, std::string_view text) {
  assert(channel.state == ChannelState::kOffered);
  refuse_id(channel.id, channel.name, reason, text);
  table_.apply(channel, ChannelEvent::kRefused);
  table_.forget(channel);
}

void MuxChannels::refuse_id(std::uint64_t id, const std::string& name, Reason reason, std::string_view text) {
  output_.send(control::Refuse{id, static_cast<std::uint64_t>(reason), std::string(text), name});
}

// ---- ending ----

void MuxChannels::finish(Channel& channel) {
  if (channel.state != ChannelState::kOpen || channel.eof_sent) return;
  output_.send_end(channel.id);
  channel.eof_sent = true;
  // PROTOCOL.md 17: "EOF ends both directions at once, whoever sends it".
  if (!rules_.half_close) channel.eof_received = true;
  flow_.update(channel);
  half_ended(channel);
}

void MuxChannels::peer_finished(Channel& channel) {
  channel.eof_received = true;
  // PROTOCOL.md 12: "When EOF or a reset ends a direction, what was promised for it is free again."
  channel.receive.end();
  half_ended(channel);
}

void MuxChannels::peer_finished_both(Channel& channel) {
  channel.eof_sent = channel.eof_received = true;
  half_ended(channel);
}

/// PROTOCOL.md 10: "When a side has both sent and received EOF, the channel is gone there."
void MuxChannels::half_ended(Channel& channel) {
  if (channel.eof_sent && channel.eof_received) table_.apply(channel, ChannelEvent::kBothEnded);
}

void MuxChannels::reset(Channel& channel, Reason reason, std::string_view text) {
  if (channel.state == ChannelState::kOffered) {
    // PROTOCOL.md 10: "A side in *offered* that does not want the channel refuses; it does not reset."
    refuse(channel, reason, text);
  } else if (channel.state == ChannelState::kGone) {
    table_.forget(channel);
  } else {
    abort(channel, reason, text);
  }
}

/// Sends a reset; the channel lives on, known to nobody, until the peer has answered.
void MuxChannels::abort(Channel& channel, Reason reason, std::string_view text) {
  channel.user = nullptr;
  if (!rules_.resets) return abort_by_end(channel);
  output_.send(control::Reset{channel.id, static_cast<std::uint64_t>(reason), std::string(text)});
  table_.apply(channel, ChannelEvent::kResetSent);
  channel.orphan = true;
  channel.receive.end();
}

/// PROTOCOL.md 17: EOF "is also the only way to abort", and "A request cannot be cancelled by its sender: the answer is
/// awaited, its id stays taken".
void MuxChannels::abort_by_end(Channel& channel) {
  const bool open = channel.state == ChannelState::kOpen;
  if (!open && channel.state != ChannelState::kRequested) return;
  channel.orphan = true;
  flow_.forget(channel);  // what it holds is for nobody
  if (open) output_.send_end(channel.id);
  table_.apply(channel, open ? ChannelEvent::kBothEnded : ChannelEvent::kResetSent);
}

bool MuxChannels::peer_reset(Channel& channel, std::uint64_t code) {
  // PROTOCOL.md 10: "the side that gets one in *offered* or *open* answers with one `reset` (the same code)"; "A reset
  // that crosses another is not answered again, by either side."
  const bool known = channel.state != ChannelState::kResetSent;
  if (known) output_.send(control::Reset{channel.id, code, {}});
  table_.apply(channel, ChannelEvent::kResetReceived);  // an orphan is gone with this
  if (known) table_.forget(channel);
  return known;
}

/// PROTOCOL.md 17: a cancelled request's "accept is answered by EOF".
void MuxChannels::end_cancelled(Channel& channel) {
  output_.send_end(channel.id);
  table_.apply(channel, ChannelEvent::kResetReceived);
}

}  // namespace connd::proto
