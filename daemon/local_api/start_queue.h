// SPDX-License-Identifier: GPL-3.0-or-later
/// StartQueue: calls of the local API that came before what they need was there, and wait for it within their own time:
/// right after `systemctl start`, or when their connection is what started the daemon. Sans-IO, on one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "daemon/local_api/listener_table.h"
#include "ipc/message.h"
#include "proto/time.h"

namespace connd::daemon {

class StartQueue {
 public:
  /// Of all clients; a boot that starts more programs at once than this has other troubles.
  static constexpr std::size_t kMaxCalls = 4'096;
  /// Of their params, which may be 1 MiB each.
  static constexpr std::size_t kMaxBytes = std::size_t{16} << 20;

  struct Waiting {
    ClientNumber client;
    ipc::Request request;
    proto::TimePoint deadline;
    std::size_t bytes = 0;
    uid_t uid = static_cast<uid_t>(-1);  ///< of the client
  };
  struct Used {
    std::size_t calls = 0;
    std::size_t bytes = 0;
  };

  /// False: there is no room.
  bool add(Waiting call) {
    if (calls_.size() >= kMaxCalls || bytes_ + call.bytes > kMaxBytes) return false;
    bytes_ += call.bytes;
    calls_.push_back(std::move(call));
    return true;
  }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const {
    return static_cast<std::size_t>(
        std::count_if(calls_.begin(), calls_.end(), [client](const Waiting& call) { return call.client == client; }));
  }
  [[nodiscard]] bool empty() const { return calls_.empty(); }
  [[nodiscard]] Used used_by(uid_t uid) const {
    Used used;
    for (const Waiting& call : calls_) {
      if (call.uid != uid) continue;
      ++used.calls;
      used.bytes += call.bytes;
    }
    return used;
  }
  /// The client's call of this id, taken out.
  std::optional<Waiting> take(ClientNumber client, const ipc::Json& id) {
    auto found = take_if([&](const Waiting& call) { return call.client == client && call.request.id == id; });
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  }
  void remove_client(ClientNumber client) {
    (void)take_if([client](const Waiting& call) { return call.client == client; });
  }
  /// Those whose time is over, `most` of them, taken out, in the order in which they came.
  std::vector<Waiting> take_expired(proto::TimePoint now, std::size_t most) {
    return take_if([now, most](const Waiting& call) mutable { return most > 0 && call.deadline <= now && most-- > 0; });
  }
  /// The one that has waited for longest, taken out.
  std::optional<Waiting> take_first() {
    if (calls_.empty()) return std::nullopt;
    Waiting call = std::move(calls_.front());
    calls_.pop_front();
    bytes_ -= call.bytes;
    return call;
  }
  std::vector<Waiting> take_all() {
    return take_if([](const Waiting&) { return true; });
  }
  [[nodiscard]] proto::TimePoint next_deadline() const {
    proto::TimePoint next = proto::kNever;
    for (const Waiting& call : calls_) next = std::min(next, call.deadline);
    return next;
  }

 private:
  template <class Wanted>
  std::vector<Waiting> take_if(Wanted wanted) {
    std::vector<Waiting> out;
    std::deque<Waiting> rest;
    for (Waiting& call : calls_) {
      if (wanted(call)) {
        bytes_ -= call.bytes;
        out.push_back(std::move(call));
      } else {
        rest.push_back(std::move(call));
      }
    }
    calls_ = std::move(rest);
    return out;
  }

  std::deque<Waiting> calls_;
  std::size_t bytes_ = 0;
};

}  // namespace connd::daemon
