// SPDX-License-Identifier: GPL-3.0-or-later
// How a connection leaves: what is queued for the peer goes first, if its time allows that.
#include <utility>

#include "daemon/connection/multiplexed_socket.h"

namespace connd::daemon {
namespace {
/// Tens of thousands of channels may end with their connection: so many do in one turn.
constexpr std::size_t kEndsPerTurn = 32;
}  // namespace

void MultiplexedSocket::close_drained(proto::Reason reason, std::string_view text) {
  drains_ |= state_ < State::kClosing;  // one that has failed has nothing to wait for
  end(reason, std::string(text), {});
}

/// The peer has, or will have, all that was said, whatever this side does now. With channels it may be sending, and
/// closing before it has heard of the end would answer that by a reset.
bool MultiplexedSocket::all_delivered() const {
  return mux_->channel_count() == 0 && !mux_->has_output() && link_->quiet();
}

/// Gives the link what the mux still has to say, as far as there is room, and then its end.
void MultiplexedSocket::write_rest() {
  while (!all_said_ && link_->unsent() < proto::Mux::kOutputTarget) {
    mux_->flush_control();
    all_said_ = mux_->output().empty() || !link_->write(mux_->output());
    mux_->output_taken();
  }
  if (all_said_) link_->close();
}

/// True when everything was sent.
proto::Result<bool> MultiplexedSocket::send_rest() {
  for (;;) {
    if (mux_) write_rest();
    const auto status = link_->flush();
    if (!status) return status.error();
    if (*status == Link::Status::kBlocked) return false;
    if (!mux_ || all_said_) return true;
  }
}

/// Sends what is left, ends our direction behind it, and reads up to the peer's end what is for nobody: to close with
/// unread input would take back what the peer has not read yet. True when there is more to do at once.
bool MultiplexedSocket::drain() {
  const bool more = end_channels();
  if (down_due_) {
    if (!more) report_down();
    return more;
  }
  using Status = Link::Status;
  const auto sent = send_rest();
  if (sent && *sent) link_->end_output();
  const Status read = sent ? link_->discard() : Status::kEnded;
  if (read == Status::kEnded) report_down();
  return more || read == Status::kMore;
}

/// Begins to end the channels. The connection is down then as soon as the link has sent what it sends at once; or, if
/// it drains, when the peer has what is queued, or the time for it is over.
void MultiplexedSocket::say_good_bye() {
  const bool may_wait = drains_ && mux_ && !link_->peer_closed();
  bool waits = may_wait && !all_delivered();
  if (mux_) mux_->go_away(end_reason_, end_text_, now());
  if (!waits) {
    const auto sent = send_rest();
    waits = may_wait && sent && !*sent;
  }
  state_ = State::kDraining;
  down_at_ = now() + kDrainTime;
  arm_timer();

  ending_ = std::move(channels_);
  channels_.clear();
  (void)end_channels();
  if (!waits) report_down();
}

/// Ends some of the channels that the connection had. True: there are more.
bool MultiplexedSocket::end_channels() {
  const bool broken = proto::reason_info(end_reason_).exit_code != 0;
  const proto::Reason reason = broken ? end_reason_ : proto::Reason::kConnectionLost;
  for (std::size_t i = 0; i < kEndsPerTurn && !ending_.empty(); ++i) {
    std::unique_ptr<ChannelSocket> channel = std::move(ending_.extract(ending_.begin()).mapped());
    if (channel->ended_on_wire()) owner_.on_channel_left(*this, channel);
    if (channel) owner_.on_channel_closed(*this, channel->end(reason, end_text_));
  }
  return !ending_.empty();
}

/// In a later turn, if channels are left to be ended.
void MultiplexedSocket::report_down() {
  if (!ending_.empty()) {
    down_due_ = true;
    return request_turn();
  }
  state_ = State::kDown;
  timer_.stop();
  owner_.on_down(*this, end_reason_, end_text_, end_error_);
}

}  // namespace connd::daemon
