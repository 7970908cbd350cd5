// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/edge_poller.h"

#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include "daemon/event_loop/epoll.h"

namespace connd::daemon {
namespace {

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | static_cast<std::uint32_t>(EPOLLET);

}  // namespace

EdgePoller::Watch::Watch(Watch&& other) noexcept
    : poller_(std::exchange(other.poller_, nullptr)), slot_(std::exchange(other.slot_, 0)) {}

EdgePoller::Watch& EdgePoller::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    poller_ = std::exchange(other.poller_, nullptr);
    slot_ = std::exchange(other.slot_, 0);
  }
  return *this;
}

void EdgePoller::Watch::reset() {
  if (EdgePoller* poller = std::exchange(poller_, nullptr)) poller->release(slot_);
}

void EdgePoller::Watch::again(std::uint32_t events) {
  assert(poller_ != nullptr && events != 0);
  poller_->ask_again(slot_, events);
}

EdgePoller::EdgePoller(Loop& loop)
    : epoll_(make_epoll()),
      each_turn_(loop, [this] { run_again(); }),
      poll_(loop, epoll_.get(), [this](int) { on_readable(); }) {
  poll_.want(Poll::kReadable);
}

EdgePoller::~EdgePoller() {
  assert(size() == 0);
}

EdgePoller::Token EdgePoller::token_of(std::uint32_t slot) const {
  return (static_cast<Token>(slots_[slot].generation) << 32) | slot;
}

EdgePoller::Slot* EdgePoller::find(Token token) {
  Slot& slot = slots_[static_cast<std::uint32_t>(token)];
  const bool current = slot.handler != nullptr && slot.generation == static_cast<std::uint32_t>(token >> 32);
  return current ? &slot : nullptr;
}

std::uint32_t EdgePoller::take_slot() {
  if (free_.empty()) {
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void EdgePoller::give_back(std::uint32_t slot) {
  Slot& s = slots_[slot];
  // 2^32 generations of one slot within one batch of events cannot happen, so wrapping is harmless.
  s = Slot{nullptr, -1, s.generation + 1, 0};
  free_.push_back(slot);
}

proto::Result<EdgePoller::Watch> EdgePoller::watch(int fd, EdgeHandler& handler) {
  const std::uint32_t slot = take_slot();
  epoll_event event{};
  event.events = kInterest;
  event.data.u64 = token_of(slot);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const std::error_code error(errno, std::generic_category());
    give_back(slot);
    return error;
  }
  slots_[slot].handler = &handler;
  slots_[slot].fd = fd;
  return Watch(*this, slot);
}

void EdgePoller::release(std::uint32_t slot) {
  const int rc = epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slots_[slot].fd, nullptr);
  assert(rc == 0);  // else the descriptor was closed before its watch: our own bug
  (void)rc;
  give_back(slot);
}

void EdgePoller::ask_again(std::uint32_t slot, std::uint32_t events) {
  if (slots_[slot].again == 0) again_.push_back(token_of(slot));
  slots_[slot].again |= events;
  each_turn_.want(true);
}

void EdgePoller::on_readable() {
  const int count = epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events_[static_cast<std::size_t>(i)];
    if (Slot* slot = find(event.data.u64)) slot->handler->on_edge(event.events);
  }
}

void EdgePoller::run_again() {
  // Handlers may ask again while this runs: that is for the next turn, hence the swap.
  running_.swap(again_);
  for (const Token token : running_) {
    Slot* slot = find(token);
    if (slot == nullptr) continue;
    const std::uint32_t events = std::exchange(slot->again, 0);
    slot->handler->on_edge(events);
  }
  running_.clear();
  each_turn_.want(!again_.empty());
}

}  // namespace connd::daemon
