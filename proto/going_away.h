// SPDX-License-Identifier: GPL-3.0-or-later
/// GoingAway: whether a connection takes new channels, and until when the open ones may go on (PROTOCOL.md, section 13,
/// "goaway"). Either side may say it, each once; the first one counts.
#pragma once

#include <algorithm>

#include "proto/limits.h"
#include "proto/time.h"

namespace connd::proto {

class GoingAway {
 public:
  /// False: it was said before.
  bool say(TimePoint now) { return note(said_, now); }
  /// The peer said it. False: again.
  bool hear(TimePoint now) { return note(heard_, now); }

  /// Neither side makes new requests.
  [[nodiscard]] bool under_way() const { return said_ || heard_; }
  /// When on_timeout() is due.
  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  void on_timeout(TimePoint now) {
    if (now < deadline_) return;
    over_ = true;
    deadline_ = kNever;  // nothing more to wake up for
  }
  /// The time of open channels is over.
  [[nodiscard]] bool over() const { return over_; }
  /// The connection may be closed. `idle`: no channel is left.
  [[nodiscard]] bool finished(bool idle, TimePoint now) const {
    return under_way() && (idle || over_ || now >= deadline_);
  }

 private:
  bool note(bool& flag, TimePoint now) {
    if (flag) return false;
    flag = true;
    // PROTOCOL.md 13: "open channels go on, for at most 30 s".
    deadline_ = std::min(deadline_, now + kGoAwayTime);
    return true;
  }

  bool said_ = false;
  bool heard_ = false;
  TimePoint deadline_ = kNever;
  bool over_ = false;  ///< that deadline has come
};

}  // namespace connd::proto
