// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/multiplexed_socket.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "daemon/system/log.h"
#include "ipc/fd_pass.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

/// Reads of one connection in one turn, of up to PumpScratch::kBytes; then others have theirs. More than one makes the
/// round trip beside bulk longer by as much, and nothing faster.
constexpr int kReadsPerTurn = 1;
/// What comes may be work that is done at once, for each of thousands of small frames: answers of opens, requests. So
/// many of them a turn are aimed at, by reading less; one record may have some hundred.
constexpr std::size_t kEventsPerTurn = 64;
constexpr std::size_t kLeastRead = std::size_t{4} << 10;
/// Ciphertext that may wait for the socket before apps are no longer read: one batch. With two, apps' bytes are out of
/// the processor's nearest cache before they are sent: a tenth slower, and small channels wait longer.
constexpr std::size_t kSendHighWater = proto::Mux::kOutputTarget;
/// Rounds of making and sending output in one turn of one connection: as with reads.
constexpr int kSendsPerTurn = 1;

proto::MuxConfig with_side(proto::MuxConfig config, bool client) {
  config.side = client ? proto::MuxSide::kClient : proto::MuxSide::kServer;
  return config;
}

/// A channel that watches its end of a new socketpair, and the app's end.
struct NewChannel {
  std::unique_ptr<ChannelSocket> channel;
  ipc::Fd apps;
};

proto::Result<NewChannel> make_channel(ChannelHost& host, EdgePoller& poller, proto::ChannelHandle handle,
                                       const ChannelOptions& options) {
  if (options.detached) {
    return NewChannel{std::make_unique<ChannelSocket>(host, handle, ipc::Fd(), options), ipc::Fd()};
  }
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return std::error_code{errno, std::system_category()};
  }
  ipc::Fd ours(fds[0]);
  (void)ipc::refuse_fds(ours.get());  // what an app sends is bytes
  NewChannel ends{nullptr, ipc::Fd(fds[1])};
  ends.channel = std::make_unique<ChannelSocket>(host, handle, std::move(ours), options);
  if (const auto started = ends.channel->start(poller); !started) return started.error();
  return ends;
}

/// Half of what the peer takes, since what was sent over a while may come at once: all ids there are, then this many a
/// second.
constexpr std::uint32_t kOpenBurst = proto::kRequestBurst / 2;
constexpr std::uint32_t kOpenRate = proto::kRequestRate / 2;
/// What is pending when these are used up may be cancelled all the same: as many as there are ids of ours.
constexpr std::uint32_t kCancelBurst = proto::kNoiseBurst - 32'768;
constexpr std::uint32_t kCancelRate = proto::kNoiseRate / 2;
/// Then nothing is opened until so many more may be cancelled.
constexpr std::uint32_t kCancelPause = 1'000;

}  // namespace

MultiplexedSocket::MultiplexedSocket(const ConnectionContext& context, Owner& owner, ConnectionNumber number,
                                     std::unique_ptr<Link> link, const proto::MuxConfig& config)
    : TurnClient(context.turns),
      context_(context),
      owner_(owner),
      number_(number),
      mux_config_(with_side(config, link->client())),
      opens_(kOpenBurst, kOpenRate, context.loop.now()),
      cancels_(kCancelBurst, kCancelRate, context.loop.now()),
      timer_(context.loop, [this] { on_deadline(); }),
      link_(std::move(link)) {}

MultiplexedSocket::~MultiplexedSocket() = default;

void MultiplexedSocket::start() {
  if (const auto started = link_->start(*this); !started) return fail(started.error());
  request_turn();
}

// ---- bytes in ----

void MultiplexedSocket::link_ready(bool readable, bool writable) {
  if (writable || state_ == State::kDraining) request_turn();
  if (readable && state_ < State::kClosing) receive();
}

void MultiplexedSocket::receive() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (state_ >= State::kClosing || reading_stopped()) return;
    const auto status = take_received();
    if (!status) return fail(status.error());
    if (*status == Link::Status::kEnded) return end(end_reason_, "the peer closed the connection", {});
    if (*status == Link::Status::kBlocked) return send_error_ ? fail(send_error_) : all_read();
  }
  link_->again();
}

/// Where the dialect has no credit, the connection is read at the pace of an app that reads slowly (proto::Brake). Only
/// when there is something to read is the time counted.
bool MultiplexedSocket::reading_stopped() {
  if (!mux_ || !mux_->reading_stopped()) return false;
  paused_ = true;
  arm_timer();
  return true;
}

proto::Result<Link::Status> MultiplexedSocket::take_received() {
  request_turn();  // the link may have something to say, and credit goes back
  const std::uint64_t before = link_->counts().bytes_in;
  events_ = 0;
  const auto status = link_->receive(read_bytes_);
  const auto read = static_cast<std::size_t>(link_->counts().bytes_in - before);
  read_bytes_ = events_ <= kEventsPerTurn ? std::clamp(2 * read, kFirstRead, PumpScratch::kBytes)
                                          : std::max(read_bytes_ * kEventsPerTurn / events_, kLeastRead);
  return status;
}

proto::Result<void> MultiplexedSocket::link_secured() {
  owner_.on_secured(*this);
  proto::MuxConfig config = mux_config_;
  config.max_window = proto::max_window_for(link_->round_trip());
  mux_ = std::make_unique<proto::Mux>(config, link_->native() ? proto::native_dialect() : proto::jami_dialect(),
                                      context_.handles.channels, context_.loop.now());
  if (!link_->native()) {
    // One of Jami's devices may answer no beacons; its kernel does.
    link_->watch_silence(2 * std::chrono::ceil<std::chrono::seconds>(mux_config_.keepalive_interval));
    link_->limit_unread();
  }
  arm_timer();
  state_ = State::kGreeting;
  if (!mux_->hello_received()) return {};
  state_ = State::kUp;
  owner_.on_up(*this);
  return {};
}

proto::Result<void> MultiplexedSocket::link_plain(proto::Bytes plain) {
  if (state_ >= State::kClosing) return {};
  mux_->feed(plain, now());
  const auto taken = take_events();
  // A Jami peer has just said that it answers beacons: until then there was no time to wait for.
  if (taken && !timer_.armed()) arm_timer();
  return taken;
}

proto::Result<void> MultiplexedSocket::take_events() {
  while (state_ < State::kClosing) {
    const auto event = mux_->next_event(now());
    if (!event) return event.error();
    if (!*event) return {};
    if ((*event)->kind != proto::MuxEvent::Kind::kData) ++events_;
    on_event(**event);
  }
  return {};
}

void MultiplexedSocket::on_event(const proto::MuxEvent& event) {
  using Kind = proto::MuxEvent::Kind;
  switch (event.kind) {
    case Kind::kHello:
      state_ = State::kUp;
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
      end_reason_ = event.reason;
      arm_timer();
      return owner_.on_going_away(*this);
    case Kind::kViolation:
      return on_violation(event);
    case Kind::kData:
    case Kind::kEnd:
    case Kind::kReset:
      return on_channel_event(event);
  }
}

/// Refused, and of no harm; but a peer that is not as it should be.
void MultiplexedSocket::on_violation(const proto::MuxEvent& event) {
  if (std::exchange(violation_told_, true)) return;
  spdlog::warn("connection={} peer={} broke the protocol, and goes on: {} (further ones are not logged)", number_,
               peer().abbreviated(), log_quote(event.text));
}

void MultiplexedSocket::on_channel_event(const proto::MuxEvent& event) {
  if (event.kind == proto::MuxEvent::Kind::kReset) return close_from_peer(event);
  ChannelSocket* channel = find(event.channel);
  if (channel == nullptr) {
    // Its owner did not attach it.
    mux_->reset(event.channel, proto::Reason::kInternal, "the peer's jami-connd has nobody who takes it");
  } else if (event.kind == proto::MuxEvent::Kind::kData) {
    channel->deliver(event.data);
  } else {
    channel->peer_ended();
  }
}

/// The mux has forgotten the channel already.
void MultiplexedSocket::close_from_peer(const proto::MuxEvent& event) {
  const auto it = channels_.find(event.channel);
  if (it == channels_.end()) return;
  std::unique_ptr<ChannelSocket> channel = std::move(it->second);
  channels_.erase(it);
  // `cancelled` is what the side that aborts is told; to the other one it is a reset.
  const bool aborted = event.reason == proto::Reason::kCancelled;
  const ChannelEnd end = channel->end(aborted ? proto::Reason::kReset : event.reason, event.text);
  channel->shut();
  over_.push_back(std::move(channel));
  owner_.on_channel_closed(*this, end);
}

// ---- bytes out ----

bool MultiplexedSocket::on_turn() {
  const bool more = take_turn();
  if (state_ != State::kDown && link_->next_deadline() != link_deadline_) arm_timer();
  return more;
}

bool MultiplexedSocket::take_turn() {
  sweep();
  if (state_ == State::kClosing) say_good_bye();
  if (state_ >= State::kDraining) return state_ == State::kDraining && drain();
  if (paused_ && !reading_stopped()) {
    paused_ = false;
    link_->again();
  }
  const bool more = send_some();
  // Until its time is over, a goaway waits for apps that have not taken everything yet, and for output to leave.
  const bool quiet = channels_.empty() && link_->unsent() == 0;
  if (mux_ && mux_->finished(now()) && (quiet || mux_->go_away_over())) {
    close_drained(end_reason_, channels_.empty() ? "the connection was closed; no channel was open any more"
                                                 : "the connection was closed before its channels had ended");
  }
  return more;
}

/// Makes and sends output, as much as is fair. True when there is more to do.
bool MultiplexedSocket::send_some() {
  if (send_error_) return drop_output();
  for (int round = 0; round < kSendsPerTurn; ++round) {
    while (link_->unsent() < kSendHighWater && make_output()) {
    }
    if (state_ >= State::kClosing) return true;
    const auto status = link_->flush();
    if (!status) {
      send_error_ = status.error();
      return drop_output();
    }
    if (*status == Link::Status::kBlocked) return false;  // link_ready wakes us
    if (!mux_ || !mux_->has_output()) return false;
  }
  return true;
}

/// Nothing can be sent any more: what is made goes nowhere. False: there is nothing to do.
bool MultiplexedSocket::drop_output() {
  if (!mux_) return false;
  do {
    mux_->output_taken();
    mux_->flush_control();
  } while (!mux_->output().empty());
  return false;
}

/// Gives one batch of the mux to the link. False when there is nothing to send.
bool MultiplexedSocket::make_output() {
  if (!mux_ || state_ >= State::kClosing) return false;
  mux_->flush_control();
  while (mux_->output().size() < proto::Mux::kOutputTarget) {
    const auto turn = mux_->next_sender();
    if (!turn) break;
    serve(*turn);
  }
  if (mux_->output().empty()) return false;
  const auto written = link_->write(mux_->output());
  mux_->output_taken();
  if (!written) fail(written.error());
  return written.ok();
}

void MultiplexedSocket::serve(const proto::Mux::Turn& turn) {
  ChannelSocket* channel = find(turn.channel);
  if (channel == nullptr) return mux_->set_ready(turn.channel, false);
  const std::size_t n = channel->read_app(mux_->prepare(turn.bytes));
  if (n == 0) return;
  mux_->commit(turn.channel, n);
  channel->look_for_end();
}

// ---- channels ----

/// One local program that opens for ever must not end the connection of all.
bool MultiplexedSocket::may_open() {
  if (cancelled_too_many_) {
    if (!cancels_.take(now(), kCancelPause)) return false;
    cancels_.add(kCancelPause);
    cancelled_too_many_ = false;
  }
  return opens_.take(now());
}

proto::Result<proto::Mux::Opened> MultiplexedSocket::open(const std::string& uri, bool unique) {
  if (!up()) return make_error_code(proto::Errc::kGoingAway);
  if (!may_open()) return make_error_code(proto::Errc::kTooManyPending);
  request_turn();
  // What a peer without credit is sent may bring no byte back for long, and the probe would stand behind all of it.
  if (mux_->doubtful(now())) probe();
  return mux_->open(uri, unique, now());
}

proto::ChannelHandle MultiplexedSocket::unique_channel(const std::string& uri) const {
  return up() ? mux_->unique_channel(uri) : 0;
}

proto::Result<ipc::Fd> MultiplexedSocket::accept(proto::ChannelHandle channel, const ChannelOptions& options) {
  if (!mux_ || state_ >= State::kClosing) return make_error_code(proto::Errc::kGoingAway);
  // Before the accept: without a descriptor the peer hears a refusal, not an accepted channel that ends at once.
  auto ends = make_channel(*this, context_.poller, channel, options);
  if (!ends) {
    refuse(channel, proto::Reason::kResourceLimit, "the peer's jami-connd has no file descriptor free");
    return ends.error();
  }
  if (!mux_->accept(channel, now())) return make_error_code(std::errc::operation_canceled);
  request_turn();
  channels_.emplace(channel, std::move(ends->channel));
  return std::move(ends->apps);
}

proto::Result<ipc::Fd> MultiplexedSocket::attach(proto::ChannelHandle handle, const ChannelOptions& options) {
  request_turn();
  auto ends = make_channel(*this, context_.poller, handle, options);
  if (!ends) {
    mux_->reset(handle, proto::Reason::kResourceLimit, "the peer's jami-connd has no file descriptor free");
    return ends.error();
  }
  channels_.emplace(handle, std::move(ends->channel));
  return std::move(ends->apps);
}

proto::Result<void> MultiplexedSocket::attach_app(proto::ChannelHandle handle, ipc::Fd fd) {
  ChannelSocket* channel = find(handle);
  if (channel == nullptr) return std::make_error_code(std::errc::operation_canceled);
  return channel->attach(std::move(fd), context_.poller);
}

void MultiplexedSocket::refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  if (!mux_) return;
  mux_->refuse(channel, reason, text);
  request_turn();
}

void MultiplexedSocket::cancel(proto::ChannelHandle channel, proto::Reason reason) {
  if (!mux_) return;
  if (!cancels_.take(now())) cancelled_too_many_ = true;
  mux_->reset(channel, reason, {});
  request_turn();
}

bool MultiplexedSocket::finish(proto::ChannelHandle channel) {
  ChannelSocket* found = find(channel);
  if (found == nullptr) return false;
  found->finish();
  return true;
}

bool MultiplexedSocket::close_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  ChannelSocket* found = find(channel);
  if (found == nullptr) return false;
  channel_over(*found, reason, text);
  return true;
}

void MultiplexedSocket::channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) {
  const auto it = channels_.find(channel.handle());
  if (it == channels_.end()) return;
  if (reason == proto::Reason::kClosed) {
    mux_->release(channel.handle());
  } else {
    mux_->reset(channel.handle(), reason, text);
  }
  const ChannelEnd end = channel.end(told_here(reason), std::string(text));
  channel.shut();
  over_.push_back(std::move(it->second));
  channels_.erase(it);
  request_turn();
  owner_.on_channel_closed(*this, end);
}

ChannelSocket* MultiplexedSocket::find(proto::ChannelHandle handle) {
  const auto it = channels_.find(handle);
  return it == channels_.end() ? nullptr : it->second.get();
}

const ChannelSocket* MultiplexedSocket::channel(proto::ChannelHandle handle) const {
  const auto it = channels_.find(handle);
  return it == channels_.end() ? nullptr : it->second.get();
}

/// Ended channels are destroyed here, when no function of theirs is on the stack.
void MultiplexedSocket::sweep() {
  over_.clear();
}

// ---- the end ----

void MultiplexedSocket::close_gracefully(proto::Reason reason, std::string_view text) {
  if (!up()) return close_now(reason, text);
  end_reason_ = reason;
  mux_->go_away(reason, text, now());
  arm_timer();
  request_turn();
}

void MultiplexedSocket::close_now(proto::Reason reason, std::string_view text) {
  end(reason, std::string(text), {});
}

void MultiplexedSocket::fail(std::error_code error) {
  const bool ours = error.category() == proto::error_category();
  std::string text = error.message();
  if (!link_->error_detail().empty() && link_->error_detail() != text) text += " (" + link_->error_detail() + ")";
  // A peer that broke the protocol may have sent more: to close with unread input would take back what tells it so.
  const bool listens = ours && error != proto::Errc::kPeerNotAnswering && error != proto::Errc::kTlsTruncated;
  drains_ |= listens && mux_ != nullptr && state_ < State::kClosing;
  end(ours ? proto::reason_of(error) : proto::Reason::kConnectionLost, std::move(text), error);
}

void MultiplexedSocket::end(proto::Reason reason, std::string text, std::error_code error) {
  if (state_ >= State::kClosing) return;
  state_ = State::kClosing;
  end_reason_ = reason;
  end_text_ = std::move(text);
  end_error_ = error;
  request_turn();  // to report it when nothing of this object is on the stack
}

}  // namespace connd::daemon
