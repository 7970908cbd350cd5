// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/control_queue.h"

#include <cassert>
#include <utility>

#include "proto/limits.h"

namespace connd::proto {

bool ControlQueue::add(Bytes objects) {
  if (size_ > kMaxControlBacklog) return false;
  if (gathers_) {
    if (!gathered_.empty() && gathered_.size() + objects.size() > kControlFrameTarget) seal();
    gathered_.insert(gathered_.end(), objects.begin(), objects.end());
    size_ += objects.size();
  } else {
    queue(ByteVector(objects.begin(), objects.end()));
  }
  return size_ <= kMaxControlBacklog;
}

void ControlQueue::add_end(WireId channel) {
  // An accept of this channel is among the objects.
  seal();
  ByteVector frame(codec_.header_bytes());
  codec_.write_header(frame.data(), channel, 0);
  queue(std::move(frame));
}

void ControlQueue::flush(Buffer& out, std::size_t target) {
  seal();
  while (!chunks_.empty() && out.size() < target) {
    const bool fits = out.append(chunks_.front());
    assert(fits);
    (void)fits;
    size_ -= chunks_.front().size();
    chunks_.pop_front();
  }
}

void ControlQueue::clear() {
  gathered_.clear();
  chunks_.clear();
  size_ = 0;
}

void ControlQueue::seal() {
  if (gathered_.empty()) return;
  ByteVector frame(codec_.header_bytes());
  codec_.write_header(frame.data(), kControlChannel, gathered_.size());
  frame.insert(frame.end(), gathered_.begin(), gathered_.end());
  size_ -= gathered_.size();
  gathered_.clear();
  queue(std::move(frame));
}

void ControlQueue::queue(ByteVector chunk) {
  size_ += chunk.size();
  if (!chunks_.empty() && chunks_.back().size() + chunk.size() <= kControlFrameTarget) {
    chunks_.back().insert(chunks_.back().end(), chunk.begin(), chunk.end());
  } else {
    chunks_.push_back(std::move(chunk));
  }
}

}  // namespace connd::proto
