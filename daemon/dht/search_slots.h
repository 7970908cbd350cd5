// SPDX-License-Identifier: GPL-3.0-or-later
/// SearchSlots: how many searches of a kind go on at a time; others wait for their turn, or until they are given up.
/// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>

namespace connd::daemon {

class SearchSlots {
 public:
  explicit SearchSlots(std::size_t max) : max_(max) {}

  /// False: it waits, in front of the others if `first`.
  bool enter(std::uint64_t id, bool first = false) {
    if (running_.size() < max_) return running_.insert(id).second;
    waiting_.insert(first ? waiting_.begin() : waiting_.end(), id);
    return false;
  }
  /// It is over, whether it ran or waited. Whose turn it is now, if anybody's: that one runs.
  std::optional<std::uint64_t> leave(std::uint64_t id) {
    if (running_.erase(id) == 0) {
      std::erase(waiting_, id);
      return std::nullopt;
    }
    if (waiting_.empty()) return std::nullopt;
    const std::uint64_t next = waiting_.front();
    waiting_.pop_front();
    running_.insert(next);
    return next;
  }
  [[nodiscard]] const std::set<std::uint64_t>& running() const { return running_; }

 private:
  std::size_t max_;
  std::set<std::uint64_t> running_;
  std::deque<std::uint64_t> waiting_;
};

}  // namespace connd::daemon
