// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/daemon/memory_link.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "proto/error.h"

namespace connd::test {
namespace {

/// Moves at most `n` bytes; gives how many.
std::size_t move(std::deque<std::uint8_t>& from, std::deque<std::uint8_t>& to, std::size_t n) {
  n = std::min(n, from.size());
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(n);
  to.insert(to.end(), from.begin(), end);
  from.erase(from.begin(), end);
  return n;
}

}  // namespace

MemoryWire::MemoryWire(daemon::Loop& loop, const Options& options)
    : options_(options), timer_(loop, [this] { carry(); }) {}

void MemoryWire::carry() {
  bool more = false;
  for (std::size_t end = 0; end < 2; ++end) {
    const std::size_t left = options_.cut[end] - total_[end];
    total_[end] += move(flight_[end], here_[end], std::min(options_.piece, left));
    if (total_[end] == options_.cut[end]) return break_now();
    more |= !flight_[end].empty();
  }
  for (std::size_t end = 0; end < 2; ++end) {
    closed_[1 - end] = flight_[end].empty() && close_sent_[1 - end];
    if (ends_[end] != nullptr) ends_[end]->notify(true, true);
  }
  if (more) timer_.arm_in(options_.delay);
}

void MemoryWire::break_now() {
  broken_ = true;
  for (auto& flight : flight_) flight.clear();
  for (MemoryLink* const end : ends_) {
    if (end != nullptr) end->notify(true, true);
  }
}

MemoryLink::MemoryLink(daemon::Loop& loop, std::shared_ptr<MemoryWire> wire, bool client, const proto::DeviceId& peer)
    : loop_(loop), wire_(std::move(wire)), end_(client ? 0 : 1), peer_(peer), wake_(loop, [this] {
        const bool readable = std::exchange(wake_readable_, false);
        owner_->link_ready(readable, std::exchange(wake_writable_, false));
      }) {
  wire_->ends_[end_] = this;
}

MemoryLink::~MemoryLink() {
  wire_->ends_[end_] = nullptr;
  if (!wire_->close_sent_[end_]) wire_->break_now();
}

void MemoryLink::notify(bool readable, bool writable) {
  wake_readable_ |= readable;
  wake_writable_ |= writable;
  if (owner_ != nullptr) wake_.arm_in(proto::Duration{});
}

/// The handshake is a byte each way.
proto::Result<void> MemoryLink::start(Owner& owner) {
  owner_ = &owner;
  out_.push_back('h');
  return {};
}

proto::Result<daemon::Link::Status> MemoryLink::receive(std::size_t most) {
  std::deque<std::uint8_t> got;
  const bool some = move(wire_->here_[end_], got, most) > 0;
  in_ += got.size();
  if (some) make_room();
  if (some && !std::exchange(secured_, true)) {
    got.pop_front();
    if (const auto ready = owner_->link_secured(); !ready) return ready.error();
  }
  if (some) owner_->link_heard();
  const proto::ByteVector plain(got.begin(), got.end());
  if (!plain.empty()) {
    if (const auto taken = owner_->link_plain(plain); !taken) return taken.error();
  }
  if (!wire_->here_[end_].empty()) return Status::kMore;
  peer_closed_ |= wire_->closed_[1 - end_];
  if (peer_closed_) return Status::kEnded;
  if (wire_->broken_) return make_error_code(proto::Errc::kTlsTruncated);
  return Status::kBlocked;
}

void MemoryLink::make_room() {
  MemoryLink* const other = wire_->ends_[1 - end_];
  if (other != nullptr) other->notify(false, true);
}

void MemoryLink::again() {
  notify(true, false);
}

proto::Result<void> MemoryLink::write(proto::Bytes plain) {
  if (!secured_ || closing_) return make_error_code(proto::Errc::kTlsFailed);
  out_.insert(out_.end(), plain.begin(), plain.end());
  wire_->most_unsent_ = std::max(wire_->most_unsent_, out_.size());
  return {};
}

proto::Result<daemon::Link::Status> MemoryLink::flush() {
  if (wire_->broken_) {
    out_.clear();
    deadline_ = proto::kNever;
    notify(true, false);
    return std::make_error_code(std::errc::broken_pipe);
  }
  const auto& options = wire_->options_;
  auto& flight = wire_->flight_[1 - end_];
  const std::size_t under_way = flight.size() + wire_->here_[1 - end_].size();
  const std::size_t room = under_way < options.room ? options.room - under_way : 0;
  const std::size_t sent = move(out_, flight, options.paced ? std::min(room, allowed_) : room);
  sent_ += sent;
  if (options.paced) allowed_ -= sent;
  if (options.paced && allowed_ == 0 && !out_.empty() && deadline_ == proto::kNever) {
    deadline_ = loop_.now() + std::max(options.delay, proto::Duration(1));
  }
  const bool ends = closing_ && out_.empty() && !std::exchange(wire_->close_sent_[end_], true);
  if ((sent > 0 || ends) && !wire_->timer_.armed()) wire_->timer_.arm_in(options.delay);
  return out_.empty() ? Status::kMore : Status::kBlocked;
}

proto::Result<void> MemoryLink::on_deadline(proto::TimePoint now) {
  if (now < deadline_) return {};
  deadline_ = proto::kNever;
  allowed_ = wire_->options_.piece;
  return {};
}

bool MemoryLink::quiet() const {
  return out_.empty() && wire_->flight_[1 - end_].empty() && wire_->here_[1 - end_].empty() &&
         wire_->here_[end_].empty();
}

daemon::Link::Delivery MemoryLink::delivery() const {
  const std::size_t under_way = wire_->flight_[1 - end_].size();
  return {under_way == 0, sent_ - under_way};
}

daemon::Link::Status MemoryLink::discard() {
  wire_->here_[end_].clear();
  make_room();
  if (wire_->broken_ || wire_->closed_[1 - end_]) return Status::kEnded;
  return Status::kBlocked;
}

}  // namespace connd::test
