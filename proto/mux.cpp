// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, ending, sending and time; what comes from the peer is in mux_receive.cpp.
#include "proto/mux.h"

#include <algorithm>
#include <cassert>

#include "proto/error.h"
#include "proto/utf8.h"

namespace connd::proto {
namespace {
// Two targets: the frame that passes the first, and one more header.
constexpr std::size_t kOutputBound = 2 * Mux::kOutputTarget + kMaxFrameBody;
/// Without credit nothing but the socket's pace bounds a sender.
constexpr std::uint32_t kNoLimit = kMaxCredit;
/// What one round of reading may bring before a stop is noticed: a read of 256 KiB, and what was decrypted before.
constexpr std::size_t kHeldSlack = std::size_t{2} << 20;

MuxConfig config_for(MuxConfig config, const DialectRules& rules) {
  if (!rules.hello) config.keepalive_interval = std::min(config.keepalive_interval, kBeaconInterval);
  return config;
}
}  // namespace

Mux::Mux(const MuxConfig& config, std::unique_ptr<Dialect> dialect, HandleSource& handles, TimePoint now)
    : config_(config_for(config, dialect->rules)),
      dialect_(std::move(dialect)),
      rules_(dialect_->rules),
      codec_(&dialect_->codec()),
      handles_(handles),
      pool_(config.max_buffer, config.max_window),
      brake_(config.max_buffer),
      last_id_(config.side == MuxSide::kClient ? kClientLastId : kServerLastId),
      control_(*codec_, rules_.gathers),
      out_(kOutputBound),
      requests_(kRequestBurst, kRequestRate, now),
      noise_(kNoiseBurst, kNoiseRate, now),
      windows_(kWindowBurst, 0, now),
      hello_received_(!rules_.hello),
      keepalive_(config_.keepalive_interval, rules_.hello, now) {
  send(control::Hello{rules_.hello ? kProtocolVersion : kJamiVersion,
                      std::min(config_.max_channels, config_.told_channels), kMaxName});
}

Mux::~Mux() = default;

// ---- opening and ending ----

Result<Mux::Opened> Mux::open(const std::string& name, bool unique, TimePoint now) {
  if (unique) {
    if (const ChannelHandle there = unique_channel(name)) return Opened{there, true};
  }
  if (going_away()) return Errc::kGoingAway;
  if (name.size() > kMaxName || name.size() > peer_max_name_ || !is_utf8(name)) return Errc::kBadChannelName;
  if (our_pending_names_ + name.size() > kMaxPendingNameBytes) return Errc::kTooManyPending;
  // A request that is taken back goes out all the same: only what the peer causes may pass the bound of the backlog.
  if (control_.size() + name.size() > kMaxControlBacklog / 2) return Errc::kTooManyPending;
  if (by_id_.size() >= config_.max_channels) return Errc::kNoFreeChannel;
  if (by_id_.size() >= peer_max_channels_) return Errc::kPeerTakesNoMore;
  const std::optional<WireId> id = free_id();
  if (!id) return Errc::kNoFreeChannel;

  Channel& channel = add(*id, name, ChannelState::kRequested, true, unique);
  our_pending_names_ += name.size();
  ByteVector group;
  if (unique) dialect_->encode(control::Unique{channel.id}, group);
  dialect_->encode(control::ChannelRequest{name, channel.id, false}, group);
  if (rules_.credit) dialect_->encode(control::Window{channel.id, channel.receive.open(now)}, group);
  send_group(group);
  return Opened{channel.handle, false};
}

ChannelHandle Mux::unique_channel(const std::string& name) const {
  const auto it = unique_names_.find(name);
  return it != unique_names_.end() ? it->second->handle : 0;
}

bool Mux::accept(ChannelHandle handle, TimePoint now) {
  Channel* channel = find(handle);
  if (channel == nullptr || channel->state != ChannelState::kOffered) return false;
  apply(*channel, ChannelEvent::kAccepted);
  ByteVector group;
  dialect_->encode(control::ChannelRequest{channel->name, channel->id, true}, group);
  if (rules_.credit) {
    dialect_->encode(control::Window{channel->id, channel->receive.open(now)}, group);
  } else {
    (void)channel->credit.add(kNoLimit);
  }
  send_group(group);
  update_order(*channel);
  return true;
}

void Mux::refuse(ChannelHandle handle, Reason reason, std::string_view text) {
  Channel* channel = find(handle);
  if (channel == nullptr || channel->state != ChannelState::kOffered) return;
  refuse_id(channel->id, channel->name, reason, text);
  apply(*channel, ChannelEvent::kRefused);
  forget(*channel);
}

void Mux::refuse_id(std::uint64_t id, const std::string& name, Reason reason, std::string_view text) {
  send(control::Refuse{id, static_cast<std::uint64_t>(reason), std::string(text), name});
}

void Mux::reset(ChannelHandle handle, Reason reason, std::string_view text) {
  Channel* channel = find(handle);
  if (channel == nullptr) return;
  if (channel->state == ChannelState::kOffered) {
    refuse(handle, reason, text);
  } else if (channel->state == ChannelState::kGone) {
    forget(*channel);
  } else {
    abort(*channel, reason, text);
  }
}

/// Sends a reset; the channel lives on, known to nobody, until the peer has answered.
void Mux::abort(Channel& channel, Reason reason, std::string_view text) {
  if (!rules_.resets) return abort_by_end(channel);
  send(control::Reset{channel.id, static_cast<std::uint64_t>(reason), std::string(text)});
  apply(channel, ChannelEvent::kResetSent);
  channel.orphan = true;
  channel.receive.end();
}

/// The same where an abort is an EOF, which is not answered. A request cannot be taken back: its answer is awaited.
void Mux::abort_by_end(Channel& channel) {
  const bool open = channel.state == ChannelState::kOpen;
  if (!open && channel.state != ChannelState::kRequested) return;
  brake_.forget(channel.handle);
  if (open) send_end(channel);
  apply(channel, ChannelEvent::kResetSent);
  channel.orphan = true;
  if (open) {
    apply(channel, ChannelEvent::kResetReceived);
  } else {
    ++unanswered_;
  }
}

void Mux::finish(ChannelHandle handle) {
  Channel* channel = find(handle);
  if (channel == nullptr || channel->state != ChannelState::kOpen || channel->eof_sent) return;
  send_end(*channel);
  channel->eof_sent = true;
  if (!rules_.half_close) channel->eof_received = true;
  update_order(*channel);
  ended_one_way(*channel);
}

void Mux::send_end(const Channel& channel) {
  // Data committed so far is in out_, ahead of all that waits.
  control_.add_end(channel.id);
}

void Mux::release(ChannelHandle handle) {
  Channel* channel = find(handle);
  if (channel != nullptr && channel->state == ChannelState::kGone) forget(*channel);
}

void Mux::go_away(Reason reason, std::string_view text, TimePoint now) {
  if (go_away_sent_) return;
  if (failed_) {
    // What waits, answers to a flood above all, is of no use to a connection that ends, and the peer may not read it
    // all.
    control_.clear();
  }
  send(control::GoAway{static_cast<std::uint64_t>(reason), std::string(text)});
  go_away_sent_ = true;
  go_away_deadline_ = std::min(go_away_deadline_, now + kGoAwayTime);
}

bool Mux::finished(TimePoint now) const {
  return going_away() && (by_id_.empty() || go_away_over_ || now >= go_away_deadline_);
}

// ---- data ----

void Mux::set_ready(ChannelHandle handle, bool ready) {
  Channel* channel = find(handle);
  if (channel == nullptr) return;
  channel->ready = ready;
  if (!ready) channel->bulk = false;
  update_order(*channel);
}

bool Mux::has_credit(ChannelHandle handle) const {
  const Channel* channel = find(handle);
  return channel != nullptr && channel->credit.available() > 0;
}

/// The one place that decides whether a channel is in the order of senders.
void Mux::update_order(Channel& channel) {
  const bool in_order = channel.queue != nullptr;
  if (channel.can_send() == in_order) return;
  in_order ? order_.remove(channel) : order_.add(channel);
}

std::optional<Mux::Turn> Mux::next_sender() {
  const auto turn = order_.next();
  if (!turn) return std::nullopt;
  return Turn{turn->channel->handle, std::min<std::size_t>(turn->quantum, turn->channel->credit.available())};
}

MutableBytes Mux::prepare(std::size_t bytes) {
  const std::size_t header = codec_->header_bytes();
  return out_.prepare(header + bytes).subspan(header);
}

void Mux::commit(ChannelHandle handle, std::size_t bytes) {
  Channel* channel = find(handle);
  assert(channel != nullptr && channel->state == ChannelState::kOpen && !channel->eof_sent && bytes > 0);
  codec_->write_header(out_.prepare(codec_->header_bytes() + bytes).data(), channel->id, bytes);
  out_.commit(codec_->header_bytes() + bytes);
  if (rules_.credit) channel->credit.use(static_cast<std::uint32_t>(bytes));
  if (channel->credit.available() == 0) channel->bulk = channel->ready;
  update_order(*channel);
  sent_since_window_ += bytes;
}

void Mux::consumed(ChannelHandle handle, std::size_t bytes, TimePoint now) {
  Channel* channel = find(handle);
  if (channel == nullptr || bytes == 0) return;
  if (!rules_.credit) return brake_.taken(handle, bytes, now);
  const std::uint32_t grant = channel->receive.consumed(bytes, now);
  if (grant > 0) send(control::Window{channel->id, grant});
}

// ---- bytes out ----

bool Mux::has_output() const {
  return !out_.empty() || !control_.empty() || !order_.empty();
}

void Mux::send(const control::Message& message) {
  ByteVector object;
  dialect_->encode(message, object);
  if (!object.empty()) send_group(object);
}

/// Objects that must stand in one frame.
void Mux::send_group(const ByteVector& objects) {
  if (!control_.add(objects)) failed_ = Errc::kControlFlood;
}

// ---- time ----

TimePoint Mux::next_deadline() const {
  return std::min({keepalive_.deadline(), go_away_deadline_, brake_.deadline()});
}

Result<void> Mux::on_timeout(TimePoint now) {
  if (failed_) return failed_;
  const Keepalive::Due due = keepalive_.on_timeout(now, reading_stopped());
  if (due == Keepalive::Due::kDead) {
    failed_ = Errc::kPeerNotAnswering;
    return failed_;
  }
  if (due == Keepalive::Due::kPing) ping();
  if (now >= go_away_deadline_) {
    go_away_over_ = true;  // finished() from now on; nothing more to wake up for
    go_away_deadline_ = kNever;
  }
  for (const ChannelHandle handle : brake_.expire(now)) stall(handle);
  return {};
}

void Mux::probe(TimePoint now) {
  if (!failed_ && keepalive_.probe(now)) ping();
}

// ---- channels ----

Channel* Mux::find(ChannelHandle handle) const {
  const auto it = channels_.find(handle);
  return it != channels_.end() && !it->second->orphan ? it->second.get() : nullptr;
}

Channel* Mux::find_id(std::uint64_t id) const {
  if (id > kReservedChannel) return nullptr;
  const auto it = by_id_.find(static_cast<WireId>(id));
  return it != by_id_.end() ? it->second : nullptr;
}

Channel& Mux::add(WireId id, std::string name, ChannelState state, bool ours, bool unique) {
  const ChannelHandle handle = handles_.take();
  auto owned = std::make_unique<Channel>(handle, id, std::move(name), state, pool_);
  Channel& channel = *owned;
  channel.ours = ours;
  channel.unique = unique;
  if (unique) unique_names_.emplace(channel.name, &channel);
  by_id_.emplace(id, &channel);
  channels_.emplace(handle, std::move(owned));
  return channel;
}

void Mux::apply(Channel& channel, ChannelEvent event) {
  const std::optional<ChannelState> next = next_state(channel.state, event);
  if (!next) return;
  const ChannelState before = std::exchange(channel.state, *next);
  if (before == ChannelState::kRequested || before == ChannelState::kOffered) end_pending(channel);
  update_order(channel);
  if (*next == ChannelState::kOpen) return;
  // A unique name is free again as soon as the channel is no longer of use to the app.
  const auto unique = unique_names_.find(channel.name);
  if (unique != unique_names_.end() && unique->second == &channel) unique_names_.erase(unique);
  if (*next == ChannelState::kGone) leave_wire(channel);
}

void Mux::end_pending(Channel& channel) {
  std::size_t& pending = channel.ours ? our_pending_names_ : peer_pending_names_;
  pending -= channel.name.size();
}

void Mux::leave_wire(Channel& channel) {
  by_id_.erase(channel.id);
  channel.receive.end();
  brake_.ended(channel.handle);
  if (channel.orphan) forget(channel);
}

void Mux::forget(Channel& channel) {
  brake_.forget(channel.handle);
  order_.remove(channel);
  channels_.erase(channel.handle);
}

void Mux::ended_one_way(Channel& channel) {
  if (channel.eof_sent && channel.eof_received) apply(channel, ChannelEvent::kBothEnded);
}

bool Mux::is_ours(std::uint64_t id) const {
  return config_.side == MuxSide::kClient ? id >= kClientFirstId && id <= kClientLastId
                                          : id >= kServerFirstId && id <= kServerLastId;
}

bool Mux::is_peers(std::uint64_t id) const {
  return id != kControlChannel && id < kReservedChannel && !(rules_.id_halves && is_ours(id));
}

std::optional<WireId> Mux::free_id() {
  const bool client = config_.side == MuxSide::kClient;
  const WireId first = client ? kClientFirstId : kServerFirstId;
  const WireId last = client ? kClientLastId : kServerLastId;
  WireId id = last_id_;
  for (int tries = last - first + 1; tries > 0; --tries) {
    id = id == last ? first : static_cast<WireId>(id + 1);
    if (by_id_.find(id) == by_id_.end()) {
      last_id_ = id;
      return id;
    }
  }
  return std::nullopt;
}

/// Ends a channel whose app does not read, where nothing else bounds what is held for it.
void Mux::stall(ChannelHandle handle) {
  Channel* channel = find(handle);
  if (channel == nullptr) return;
  made_.push_back({.kind = MuxEvent::Kind::kReset,
                   .channel = handle,
                   .reason = Reason::kStalled,
                   .text = "the application did not read, and the peer cannot be told to wait"});
  // One that has ended on the wire is the app's alone: its end here is that it is forgotten.
  reset(handle, Reason::kStalled, {});
}

std::size_t Mux::max_held() const {
  return rules_.credit ? kMaxWindow : static_cast<std::size_t>(config_.max_buffer) + kHeldSlack;
}

std::uint64_t Mux::buffered_bytes() const {
  if (!rules_.credit) return brake_.total();
  return config_.max_buffer - static_cast<std::uint64_t>(std::max<std::int64_t>(pool_.left(), 0));
}

}  // namespace connd::proto
