// SPDX-License-Identifier: GPL-3.0-or-later
// How a connection leaves: what is queued for the peer goes first, if its time allows that.
#include <utility>

#include "daemon/multiplexed_socket.h"

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
  return mux_->channel_count() == 0 && !mux_->has_output() && tls_.output().empty() && transport_.quiet();
}

/// Moves what the mux still has to say into TLS, as far as there is room; close_notify is the last.
void MultiplexedSocket::write_rest() {
  while (!all_said_ && tls_.output().size() < proto::Mux::kOutputTarget) {
    mux_->flush_control();
    all_said_ = mux_->output().empty() || !tls_.write(mux_->output());
    mux_->output_taken();
  }
  if (all_said_) (void)tls_.close();
}

/// True when the socket has taken everything.
proto::Result<bool> MultiplexedSocket::send_rest() {
  for (;;) {
    if (mux_) write_rest();
    const std::size_t before = tls_.output().size();
    const auto status = transport_.send(tls_.output());
    bytes_out_ += before - tls_.output().size();
    if (!status) return status.error();
    if (*status == IceTransport::Status::kBlocked) return false;
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
  using Status = IceTransport::Status;
  const auto sent = send_rest();
  if (sent && *sent) transport_.end_output();
  const Status read = sent ? transport_.discard(context_.scratch.cipher) : Status::kEnded;
  if (read == Status::kEnded) report_down();
  return more || read == Status::kMore;
}

/// Begins to end the channels. The connection is down then as soon as the socket has taken what it takes at once; or,
/// if it drains, when the peer has what is queued, or the time for it is over.
void MultiplexedSocket::say_good_bye() {
  const bool waits = drains_ && mux_ && !tls_.peer_closed() && !all_delivered();
  if (mux_) mux_->go_away(end_reason_, end_text_, now());
  if (!waits) (void)send_rest();
  state_ = State::kDraining;
  timer_.arm_in(kDrainTime);

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
