// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestSaver: writes the RequestLog to the disk, on the pool.
#pragma once

#include <memory>

#include "daemon/event_loop/loop.h"
#include "daemon/trust/request_log.h"

namespace connd::daemon {

/// Used on the loop's thread. Of each file one snapshot is being written at a time: an older one must not land after a
/// newer one.
class RequestSaver {
 public:
  /// So long strangers' ids may wait: who is killed meanwhile treats some requests again.
  static constexpr proto::Duration kUnknownDelay = std::chrono::seconds(10);

  /// `log` outlives this.
  RequestSaver(Loop& loop, RequestLog& log);

  /// There may be something new.
  void on_change();
  /// All of it, now: the end is near.
  void flush();

 private:
  using Kind = RequestLog::Kind;
  void save(Kind kind);

  Loop& loop_;
  RequestLog& log_;
  bool saving_[2] = {};  ///< by kind
  Timer unknown_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< pool work holds a weak_ptr: it may end after us
};

}  // namespace connd::daemon
