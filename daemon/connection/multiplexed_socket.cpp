// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/multiplexed_socket.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/system/log.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

proto::MuxConfig with_side(proto::MuxConfig config, bool client) {
  config.side = client ? proto::MuxSide::kClient : proto::MuxSide::kServer;
  return config;
}

}  // namespace

MultiplexedSocket::MultiplexedSocket(const ConnectionContext& context, Owner& owner, ConnectionNumber number,
                                     std::unique_ptr<Link> link, const proto::MuxConfig& config)
    : TurnClient(context.turns),
      context_(context),
      owner_(owner),
      mux_config_(with_side(config, link->client())),
      life_(number, link->peer()),
      channels_(context_, *this, life_),
      output_(*link, channels_, life_),
      good_bye_(*link, output_, channels_, life_),
      timer_(context.loop, [this] { on_deadline(); }),
      link_(std::move(link)) {}

void MultiplexedSocket::start() {
  if (const auto started = link_->start(*this); !started) return fail(started.error());
  request_turn();
}

// ---- from the link ----

void MultiplexedSocket::link_ready(bool readable, bool writable) {
  if (writable || life_.state() == ConnectionState::kDraining) request_turn();
  if (readable) receive();
}

/// One read a turn, of up to PumpScratch::kBytes; then others have theirs. More than one makes the round trip beside
/// bulk longer by as much, and nothing faster.
void MultiplexedSocket::receive() {
  if (life_.ending() || reading_stopped()) return;
  request_turn();  // the link may have something to say, and credit goes back
  const std::uint64_t before = link_->counts().bytes_in;
  const auto status = link_->receive(read_size_.begin());
  read_size_.end(static_cast<std::size_t>(link_->counts().bytes_in - before));
  if (!status) return fail(status.error());
  if (*status == Link::Status::kEnded) return end(life_.reason(), "the peer closed the connection", {});
  if (*status == Link::Status::kMore) return link_->again();
  if (output_.broken()) return fail(output_.broken());
  if (!std::exchange(probe_due_, false)) return;
  // All that has come is read: what comes from here on is a sign of life.
  context_.loop.update_now();
  if (!mux_->keepalive().asking()) (void)output_.gets_through();
  mux_->probe(now());
  arm_timer();
}

/// Where the dialect has no credit, the connection is read at the pace of an app that reads slowly (proto::Brake). Only
/// when there is something to read is the time counted.
bool MultiplexedSocket::reading_stopped() {
  if (!mux_ || !mux_->reading_stopped()) return false;
  paused_ = true;
  arm_timer();
  return true;
}

proto::Result<void> MultiplexedSocket::link_secured() {
  owner_.on_secured(*this);
  proto::MuxConfig config = mux_config_;
  config.max_window = proto::max_window_for(link_->round_trip());
  mux_ = std::make_unique<proto::Mux>(config, link_->native() ? proto::native_dialect() : proto::jami_dialect(),
                                      context_.handles.channels, now());
  channels_.begin(*mux_);
  output_.begin(*mux_);
  if (!link_->native()) {
    // One of Jami's devices may answer no beacons; its kernel does.
    link_->watch_silence(2 * std::chrono::ceil<std::chrono::seconds>(mux_config_.keepalive_interval));
    link_->limit_unread();
  }
  arm_timer();
  life_.move_to(ConnectionState::kGreeting);
  if (!mux_->hello_received()) return {};
  life_.move_to(ConnectionState::kUp);
  owner_.on_up(*this);
  return {};
}

proto::Result<void> MultiplexedSocket::link_plain(proto::Bytes plain) {
  if (life_.ending()) return {};
  mux_->feed(plain, now());
  const auto taken = take_events();
  // A Jami peer has just said that it answers beacons: until then there was no time to wait for.
  if (taken && !timer_.armed()) arm_timer();
  return taken;
}

proto::Result<void> MultiplexedSocket::take_events() {
  while (!life_.ending()) {
    const auto event = mux_->next_event(now());
    if (!event) return event.error();
    if (!*event) return {};
    if ((*event)->kind != proto::MuxEvent::Kind::kData) read_size_.event();
    on_event(**event);
  }
  return {};
}

void MultiplexedSocket::on_event(const proto::MuxEvent& event) {
  using Kind = proto::MuxEvent::Kind;
  switch (event.kind) {
    case Kind::kHello:
      life_.move_to(ConnectionState::kUp);
      link_->agreed();  // it has come by this link: its side uses it as well
      return owner_.on_up(*this);
    case Kind::kRequested:
      return owner_.on_channel_requested(*this, event.channel, event.name, event.unique);
    case Kind::kOpened:
      return owner_.on_open_answered(*this, event.channel, proto::Reason::kClosed, {});
    case Kind::kRefused:
      return owner_.on_open_answered(*this, event.channel, event.reason, event.text);
    case Kind::kCancelled:
      return owner_.on_request_cancelled(*this, event.channel, event.reason);
    case Kind::kGoAway:
      life_.will_end(event.reason);
      arm_timer();
      return owner_.on_going_away(*this);
    case Kind::kViolation:
      return on_violation(event);
    case Kind::kData:
    case Kind::kEnd:
    case Kind::kReset:
      return channels_.on_event(event);
  }
}

/// Refused, and of no harm; but a peer that is not as it should be.
void MultiplexedSocket::on_violation(const proto::MuxEvent& event) {
  if (std::exchange(violation_told_, true)) return;
  spdlog::warn("connection={} peer={} broke the protocol, and goes on: {} (further ones are not logged)", number(),
               peer().abbreviated(), log_quote(event.text));
}

// ---- the turn ----

bool MultiplexedSocket::on_turn() {
  const bool more = take_turn();
  if (life_.state() != ConnectionState::kDown && link_->next_deadline() != link_deadline_) arm_timer();
  return more;
}

bool MultiplexedSocket::take_turn() {
  channels_.sweep();
  if (life_.ending()) return leave();
  if (paused_ && !reading_stopped()) {
    paused_ = false;
    link_->again();
  }
  const auto more = output_.send();
  if (!more) fail(more.error());
  // Until its time is over, a goaway waits for apps that have not taken everything yet, and for output to leave.
  const bool quiet = channels_.size() == 0 && link_->unsent() == 0;
  if (mux_ && mux_->finished(now()) && (quiet || mux_->go_away_over())) {
    close_drained(life_.reason(), channels_.size() == 0 ? "the connection was closed; no channel was open any more"
                                                        : "the connection was closed before its channels had ended");
  }
  return !more || *more;
}

/// True when there is more to do at once.
bool MultiplexedSocket::leave() {
  if (life_.state() == ConnectionState::kDown) return false;
  if (life_.state() == ConnectionState::kClosing) {
    life_.move_to(ConnectionState::kDraining);
    good_bye_.begin(mux_.get(), now());
    arm_timer();
  }
  const bool more = !good_bye_.done() && good_bye_.step();
  if (!good_bye_.done()) return more;
  life_.move_to(ConnectionState::kDown);
  timer_.stop();
  owner_.on_down(*this, life_.reason(), life_.text(), life_.error());
  return false;
}

// ---- time ----

void MultiplexedSocket::probe() {
  if (!up()) return;
  // What lies in the link already, perhaps since before a sleep, would pass for a sign of life: it is read first.
  probe_due_ = true;
  link_->again();
}

void MultiplexedSocket::arm_timer() {
  link_deadline_ = link_->next_deadline();
  timer_.arm(std::min({link_deadline_, good_bye_.deadline(), can_say_why() ? mux_->next_deadline() : proto::kNever}));
}

void MultiplexedSocket::on_deadline() {
  const bool link_due = link_->next_deadline() <= now();
  if (link_due) {
    request_turn();  // to flush
    if (const auto alive = link_->on_deadline(now()); !alive && !life_.ending()) return fail(alive.error());
  }
  if (now() >= good_bye_.deadline()) {
    good_bye_.time_is_over();
    return request_turn();
  }
  if (!can_say_why() || (link_due && now() < mux_->next_deadline())) return arm_timer();
  // After a suspend the peer's bytes may be here already: look before judging it by the clock.
  receive();
  if (life_.ending()) return;
  const bool due = mux_->keepalive().answer_due(now());
  if ((due || !mux_->keepalive().asking()) && output_.gets_through()) mux_->allow_more_time(now());
  if (const auto alive = mux_->on_timeout(now()); !alive) return fail(alive.error());
  if (const auto taken = take_events(); !taken) return fail(taken.error());
  arm_timer();
  request_turn();
}

// ---- channels ----

proto::Result<proto::Mux::Opened> MultiplexedSocket::open(const std::string& uri, bool unique) {
  if (!up()) return make_error_code(proto::Errc::kGoingAway);
  if (!channels_.may_open()) return make_error_code(proto::Errc::kTooManyPending);
  request_turn();
  // What a peer without credit is sent may bring no byte back for long, and the probe would stand behind all of it.
  if (mux_->keepalive().doubtful(now())) probe();
  return mux_->open(uri, unique, now());
}

proto::ChannelHandle MultiplexedSocket::unique_channel(const std::string& uri) const {
  return up() ? mux_->unique_channel(uri) : 0;
}

// ---- the end ----

void MultiplexedSocket::close_gracefully(proto::Reason reason, std::string_view text) {
  if (!up()) return close_now(reason, text);
  life_.will_end(reason);
  mux_->go_away(reason, text, now());
  arm_timer();
  request_turn();
}

void MultiplexedSocket::close_now(proto::Reason reason, std::string_view text) {
  end(reason, std::string(text), {});
}

void MultiplexedSocket::close_drained(proto::Reason reason, std::string_view text) {
  life_.drain();
  end(reason, std::string(text), {});
}

void MultiplexedSocket::fail(std::error_code error) {
  const bool ours = error.category() == proto::error_category();
  std::string text = error.message();
  if (!link_->error_detail().empty() && link_->error_detail() != text) text += " (" + link_->error_detail() + ")";
  // PROTOCOL.md 13: who ends a connection "sends goaway with the reason, then close_notify, and drains": a peer that
  // broke the protocol may have sent more, and to close with unread input would take back what tells it so.
  const bool listens = ours && error != proto::Errc::kPeerNotAnswering && error != proto::Errc::kTlsTruncated;
  if (listens && mux_ != nullptr) life_.drain();
  end(ours ? proto::reason_of(error) : proto::Reason::kConnectionLost, std::move(text), error);
}

void MultiplexedSocket::end(proto::Reason reason, std::string text, std::error_code error) {
  // What follows is for the turn's end, when nothing of this object is on the stack.
  if (life_.end(reason, std::move(text), error)) request_turn();
}

}  // namespace connd::daemon
