// SPDX-License-Identifier: GPL-3.0-or-later
/// SealedQueue: values that wait to be opened, of which strangers can send more than we open.
///
/// The newest is taken first: who sends into a flood is answered at once or not at all, and sends again. Where there is
/// no room, the new one takes the place of any: whoever fills the queue cannot keep others out of it, or know which of
/// his own stay.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace connd::daemon {

template <class T>
class SealedQueue {
 public:
  /// A number below its argument, which is above 0.
  using Pick = std::function<std::size_t(std::size_t below)>;

  /// `max`: at least 1.
  SealedQueue(std::size_t max, Pick pick) : max_(max), pick_(std::move(pick)) {}

  /// False: another one had to go.
  bool push(T value) {
    const bool room = values_.size() < max_;
    if (!room) values_.erase(values_.begin() + static_cast<std::ptrdiff_t>(pick_(values_.size())));
    values_.push_back(std::move(value));
    return room;
  }
  /// The newest.
  std::optional<T> pop() {
    if (values_.empty()) return std::nullopt;
    std::optional<T> newest(std::move(values_.back()));
    values_.pop_back();
    return newest;
  }
  void clear() { values_.clear(); }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] bool empty() const { return values_.empty(); }

 private:
  std::size_t max_;
  Pick pick_;
  std::vector<T> values_;  ///< oldest first
};

}  // namespace connd::daemon
