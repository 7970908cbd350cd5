// SPDX-License-Identifier: GPL-3.0-or-later
/// RecentValues: what came lately: the same value comes from each node that keeps it, and costs an RSA operation.
/// One thread. Part of DhtClient.
#pragma once

#include <cstddef>
#include <deque>
#include <set>

namespace connd::daemon {

template <class Hash>
class RecentValues {
 public:
  /// False: it is among the last ones already.
  bool add(const Hash& hash) {
    if (!set_.insert(hash).second) return false;
    order_.push_back(hash);
    if (order_.size() > kMax) {
      set_.erase(order_.front());
      order_.pop_front();
    }
    return true;
  }
  /// What add() took last comes as if for the first time, should it come again.
  void forget_last() {
    set_.erase(order_.back());
    order_.pop_back();
  }

  static constexpr std::size_t kMax = 1'024;  // copies follow each other within a second; 100 kB

 private:
  std::set<Hash> set_;
  std::deque<Hash> order_;
};

}  // namespace connd::daemon
