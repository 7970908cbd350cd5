// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "proto/error.h"

namespace connd::proto {
namespace {

/// PROTOCOL.md 17: a beacon goes "after 20 s without a byte", unless keepalive is more often.
Duration keepalive_interval(const MuxConfig& config, const DialectRules& rules) {
  return rules.hello ? config.keepalive_interval : std::min(config.keepalive_interval, kBeaconInterval);
}

}  // namespace

Mux::Mux(const MuxConfig& config, std::unique_ptr<Dialect> dialect, HandleSource& handles, TimePoint now)
    : dialect_(std::move(dialect)),
      flow_(rules().credit, config.max_buffer, config.max_window),
      output_(*dialect_),
      channels_(config, rules(), handles, flow_, output_),
      guard_(now),
      keepalive_(keepalive_interval(config, rules()), rules().hello, now),
      receiver_(config.side, {*dialect_, flow_, output_, channels_, guard_, leaving_, keepalive_}) {
  // PROTOCOL.md 9: hello is "the first control object of each side, once, as soon as the TLS handshake is done there".
  output_.send(control::Hello{rules().hello ? kProtocolVersion : kJamiVersion,
                              std::min(config.max_channels, config.told_channels), kMaxName});
}

// ---- bytes in ----

void Mux::feed(Bytes plain, TimePoint now) {
  receiver_.feed(plain);
  heard(now);
}

Result<std::optional<MuxEvent>> Mux::next_event(TimePoint now) {
  if (const std::error_code error = failed()) return error;
  if (!made_.empty()) {
    MuxEvent event = std::move(made_.front());
    made_.pop_front();
    return std::optional(std::move(event));
  }
  auto event = receiver_.next(now);
  if (event && *event) return event;
  if (!event) failed_ = event.error();
  if (const std::error_code error = failed()) return error;
  return std::optional<MuxEvent>{};
}

/// What ended the connection, if something did.
std::error_code Mux::failed() const {
  return output_.overrun() ? make_error_code(Errc::kControlFlood) : failed_;
}

// ---- opening and ending ----

Result<Mux::Opened> Mux::open(const std::string& name, bool unique, TimePoint now) {
  // PROTOCOL.md 11: "asks for *the* channel of that name"; "A plain request never joins a unique channel."
  if (unique) {
    if (const ChannelHandle there = unique_channel(name)) return Opened{there, true};
  }
  // PROTOCOL.md 13, goaway: "neither side makes new requests from then on".
  if (going_away()) return Errc::kGoingAway;
  const auto channel = channels_.open(name, unique, receiver_.hello(), now);
  if (!channel) return channel.error();
  return Opened{*channel, false};
}

ChannelHandle Mux::unique_channel(const std::string& name) const {
  const Channel* channel = channels_.table().find_unique(name);
  return channel != nullptr ? channel->handle : 0;
}

bool Mux::accept(ChannelHandle handle, TimePoint now) {
  Channel* channel = channels_.table().find(handle);
  if (channel == nullptr || channel->state != ChannelState::kOffered) return false;
  channels_.accept(*channel, now);
  return true;
}

void Mux::refuse(ChannelHandle handle, Reason reason, std::string_view text) {
  Channel* channel = channels_.table().find(handle);
  if (channel != nullptr && channel->state == ChannelState::kOffered) channels_.refuse(*channel, reason, text);
}

void Mux::reset(ChannelHandle handle, Reason reason, std::string_view text) {
  if (Channel* channel = channels_.table().find(handle)) channels_.reset(*channel, reason, text);
}

void Mux::finish(ChannelHandle handle) {
  if (Channel* channel = channels_.table().find(handle)) channels_.finish(*channel);
}

void Mux::release(ChannelHandle handle) {
  Channel* channel = channels_.table().find(handle);
  if (channel == nullptr) return;
  channel->user = nullptr;
  if (channel->state == ChannelState::kGone) channels_.table().forget(*channel);
}

void Mux::go_away(Reason reason, std::string_view text, TimePoint now) {
  if (!leaving_.say(now)) return;
  // What waits, answers to a flood above all, is of no use to a connection that ends, and the peer may not read it all.
  if (failed()) output_.drop_waiting();
  output_.send(control::GoAway{static_cast<std::uint64_t>(reason), std::string(text)});
}

// ---- data ----

void Mux::set_user(ChannelHandle handle, ChannelUser* user) {
  if (Channel* channel = channels_.table().find(handle)) channel->user = user;
}

void Mux::set_ready(ChannelHandle handle, bool ready) {
  if (Channel* channel = channels_.table().find(handle)) flow_.set_ready(*channel, ready);
}

bool Mux::has_credit(ChannelHandle handle) const {
  const Channel* channel = channels_.table().find(handle);
  return channel != nullptr && channel->credit.available() > 0;
}

std::optional<Mux::Turn> Mux::next_sender() {
  const auto turn = flow_.next();
  if (!turn) return std::nullopt;
  channels_.table().expect(*turn->channel);
  return Turn{turn->channel->handle, turn->channel->user, turn->bytes};
}

void Mux::commit(ChannelHandle handle, std::size_t bytes) {
  Channel* channel = channels_.table().find(handle);
  assert(channel != nullptr && channel->state == ChannelState::kOpen && !channel->eof_sent && bytes > 0);
  output_.commit(channel->id, bytes);
  flow_.sent(*channel, bytes);
  guard_.sent(bytes);
}

void Mux::consumed(ChannelHandle handle, std::size_t bytes, TimePoint now) {
  Channel* channel = channels_.table().find(handle);
  if (channel == nullptr || bytes == 0) return;
  // PROTOCOL.md 12: "Credit goes back when the kernel has taken the bytes on the app's side, not when they came".
  const std::uint32_t grant = flow_.consumed(*channel, bytes, now);
  if (grant > 0) output_.send(control::Window{channel->id, grant});
}

// ---- time ----

TimePoint Mux::next_deadline() const {
  return std::min({keepalive_.deadline(), leaving_.deadline(), flow_.deadline()});
}

Result<void> Mux::on_timeout(TimePoint now) {
  if (const std::error_code error = failed()) return error;
  const Keepalive::Due due = keepalive_.on_timeout(now, reading_stopped());
  if (due == Keepalive::Due::kDead) {
    failed_ = Errc::kPeerNotAnswering;
    return failed_;
  }
  if (due == Keepalive::Due::kPing) ping();
  leaving_.on_timeout(now);
  for (const ChannelHandle handle : flow_.expire(now)) stall(handle);
  return {};
}

void Mux::probe(TimePoint now) {
  if (!failed() && keepalive_.probe(now)) ping();
}

void Mux::ping() {
  output_.send(control::Ping{keepalive_.number()});
}

/// PROTOCOL.md 17: "A channel that braked its connection **ends** (`stalled` to its app, EOF to the peer, what is held
/// for it is dropped)".
void Mux::stall(ChannelHandle handle) {
  Channel* channel = channels_.table().find(handle);
  if (channel == nullptr) return;
  made_.push_back({.kind = MuxEvent::Kind::kReset,
                   .channel = handle,
                   .reason = Reason::kStalled,
                   .text = "the application did not read, and the peer cannot be told to wait"});
  // One that has ended on the wire is the app's alone: its end here is that it is forgotten.
  channels_.reset(*channel, Reason::kStalled, {});
}

}  // namespace connd::proto
