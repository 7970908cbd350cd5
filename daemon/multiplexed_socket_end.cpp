// SPDX-License-Identifier: GPL-3.0-or-later
// How a connection leaves: what is queued for the peer goes first, if its time allows that.
#include <utility>

#include "daemon/multiplexed_socket.h"

namespace connd::daemon {

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
  using Status = IceTransport::Status;
  const auto sent = send_rest();
  if (sent && *sent) transport_.end_output();
  const Status read = sent ? transport_.discard(context_.scratch.cipher) : Status::kEnded;
  if (read == Status::kEnded) report_down();
  return read == Status::kMore;
}

void MultiplexedSocket::report_down() {
  state_ = State::kDown;
  timer_.stop();
  owner_.on_down(*this, end_reason_, end_text_, end_error_);
}

}  // namespace connd::daemon
