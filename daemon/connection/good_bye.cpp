// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/good_bye.h"

namespace connd::daemon {

/// The connection is down as soon as the link has sent what it sends at once; or, if it drains, when the peer has what
/// is queued, or the time for it is over.
void GoodBye::begin(proto::Mux* mux, proto::TimePoint now) {
  const bool may_wait = life_.drains() && mux != nullptr && !link_.peer_closed();
  bool waits = may_wait && !output_.all_delivered();
  // PROTOCOL.md 13, "Close": "goaway with the reason if none was sent, then close_notify."
  if (mux != nullptr) mux->go_away(life_.reason(), life_.text(), now);
  if (!waits) {
    const auto sent = output_.send_rest();
    waits = may_wait && sent && !*sent;
  }
  deadline_ = now + kDrainTime;
  said_ = !waits;
  channels_.begin_end();
  (void)channels_.end_some();
}

/// PROTOCOL.md 13, "Drain": what is queued is sent; then a side "ends its direction of the TCP connection, and reads up
/// to the peer's end, which it drops": to close with unread input would take back what the peer has not read yet.
bool GoodBye::step() {
  const bool more = channels_.end_some();
  if (said_) return more;
  using Status = Link::Status;
  const auto sent = output_.send_rest();
  if (sent && *sent) link_.end_output();
  const Status read = sent ? link_.discard() : Status::kEnded;
  said_ = read == Status::kEnded;
  return more || read == Status::kMore;
}

}  // namespace connd::daemon
