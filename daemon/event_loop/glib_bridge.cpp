// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/glib_bridge.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/epoll.h>
#include <sys/stat.h>

#include "daemon/event_loop/epoll.h"

namespace connd::daemon {
namespace {

/// How often to look when the kernel has no room for a registration: a pacing interval of ICE.
constexpr proto::Duration kUnwatchedInterval{5};

constexpr std::size_t kEdgesPerTurn = 128;

static_assert(static_cast<int>(G_IO_IN) == EPOLLIN && static_cast<int>(G_IO_OUT) == EPOLLOUT &&
                  static_cast<int>(G_IO_PRI) == EPOLLPRI,
              "GLib's conditions are handed to epoll as they are");

}  // namespace

GlibBridge::Use& GlibBridge::Use::operator=(Use&& other) noexcept {
  if (this != &other) {
    reset();
    bridge_ = std::exchange(other.bridge_, nullptr);
  }
  return *this;
}

void GlibBridge::Use::reset() {
  if (GlibBridge* bridge = std::exchange(bridge_, nullptr)) bridge->release_use();
}

GlibBridge::GlibBridge(Loop& loop)
    : loop_(loop),
      context_(g_main_context_new()),
      epoll_(make_epoll()),
      timer_(loop, [this] { touch(); }),
      poll_(loop, epoll_.get(), [this](int) { on_readable(); }),
      before_wait_(loop, [this] { on_turn(); }) {
  before_wait_.want(false);
}

GlibBridge::~GlibBridge() {
  assert(uses_ == 0 && !in_turn_);
  g_main_context_unref(context_);
}

GlibBridge::Use GlibBridge::use() {
  assert(loop_.on_thread());
  if (++uses_ == 1 && !in_turn_) start();
  return Use(*this);
}

void GlibBridge::release_use() {
  assert(loop_.on_thread());
  // From inside a GLib callback the turn itself stops: GLib is in the middle of its dispatch.
  if (--uses_ == 0 && !in_turn_) stop();
}

void GlibBridge::start() {
  // Owned for as long as the bridge runs: libnice asks g_main_context_is_owner() before it calls back directly, and a
  // source attached by the owner needs no wake-up through a pipe.
  const gboolean owned = g_main_context_acquire(context_);
  assert(owned);
  (void)owned;
  poll_.want(Poll::kReadable);
  before_wait_.want(true);
  touch();
}

void GlibBridge::stop() {
  forget_descriptors();
  poll_.want(0);
  timer_.stop();
  before_wait_.keep_awake(false);
  before_wait_.want(false);
  prepared_ = false;
  g_main_context_release(context_);
}

void GlibBridge::touch() {
  if (uses_ == 0) return;
  dirty_ = true;
  before_wait_.keep_awake(true);
}

void GlibBridge::on_readable() {
  // What is ready is asked of poll(2) in the turn; this only takes the edges of what is held back off the set, which
  // would stay readable for them. Edges beyond the array make one more turn.
  std::array<epoll_event, kEdgesPerTurn> events;
  (void)epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  touch();
}

void GlibBridge::forget_descriptors() {
  for (const Registered& registered : registered_) apply(EPOLL_CTL_DEL, registered);
  registered_.clear();
  touch();
}

void GlibBridge::on_turn() {
  if (!dirty_) return;
  dirty_ = false;
  before_wait_.keep_awake(false);
  in_turn_ = true;
  if (prepared_) check_and_dispatch();
  in_turn_ = false;
  if (uses_ == 0) return stop();
  prepare();
}

void GlibBridge::check_and_dispatch() {
  // The query is of an earlier turn. A number that has been closed since gives POLLNVAL, one that is in use again is
  // another file's readiness: either is at worst one call in vain of a non-blocking reader.
  g_poll(fds_.data(), static_cast<guint>(fds_.size()), 0);
  hold_back();
  if (g_main_context_check(context_, priority_, fds_.data(), static_cast<gint>(fds_.size()))) {
    g_main_context_dispatch(context_);
  }
  prepared_ = false;
}

void GlibBridge::hold_back() {
  held_back_.clear();
  for (GPollFD& fd : fds_) {
    if (fd.revents == 0) continue;
    const auto refuses = [&fd](Gate* gate) { return !gate->admits(fd.fd); };
    if (std::none_of(gates_.begin(), gates_.end(), refuses)) continue;
    fd.revents = 0;
    held_back_.push_back(fd.fd);
  }
}

void GlibBridge::prepare() {
  gint timeout_ms = -1;
  const bool ready = g_main_context_prepare(context_, &priority_);
  prepared_ = true;
  gint needed = static_cast<gint>(fds_.capacity());
  do {
    fds_.resize(static_cast<std::size_t>(needed));
    needed = g_main_context_query(context_, priority_, &timeout_ms, fds_.data(), static_cast<gint>(fds_.size()));
  } while (needed > static_cast<gint>(fds_.size()));
  fds_.resize(static_cast<std::size_t>(needed));
  sync_descriptors();
  if (ready || timeout_ms == 0) {
    timer_.stop();
    return touch();
  }
  proto::Duration wait = timeout_ms < 0 ? proto::Duration::max() : proto::Duration{timeout_ms};
  if (unwatched_) wait = std::min(wait, kUnwatchedInterval);
  if (wait == proto::Duration::max()) {
    timer_.stop();
  } else {
    timer_.arm_in(wait);
  }
}

std::vector<GlibBridge::Registered> GlibBridge::polled() const {
  std::vector<Registered> out;
  out.reserve(fds_.size());
  for (const GPollFD& fd : fds_) {
    struct stat info {};
    if (fstat(fd.fd, &info) != 0) continue;  // closed already; its source goes in this turn
    auto events = static_cast<std::uint32_t>(fd.events & (G_IO_IN | G_IO_OUT | G_IO_PRI));
    // What is held back stays ready: only a change may wake the loop, or it would spin.
    const bool held = std::find(held_back_.begin(), held_back_.end(), fd.fd) != held_back_.end();
    if (held) events |= static_cast<std::uint32_t>(EPOLLET);
    out.push_back({fd.fd, info.st_ino, events});
  }
  std::sort(out.begin(), out.end(), [](const Registered& a, const Registered& b) { return a.fd < b.fd; });
  // Several sources may poll one descriptor: one registration with the events of all.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (kept > 0 && out[kept - 1].fd == out[i].fd) {
      out[kept - 1].events |= out[i].events;
    } else {
      out[kept++] = out[i];
    }
  }
  out.resize(kept);
  return out;
}

void GlibBridge::sync_descriptors() {
  std::vector<Registered> wanted = polled();
  unwatched_ = false;
  auto old = registered_.cbegin();
  for (const Registered& now : wanted) {
    for (; old != registered_.cend() && old->fd < now.fd; ++old) apply(EPOLL_CTL_DEL, *old);
    if (old == registered_.cend() || old->fd != now.fd) {
      apply(EPOLL_CTL_ADD, now);
      continue;
    }
    if (old->inode != now.inode) {
      apply(EPOLL_CTL_DEL, *old);  // fails when the kernel has dropped it with its file, as it should have
      apply(EPOLL_CTL_ADD, now);
    } else if (old->events != now.events) {
      apply(EPOLL_CTL_MOD, now);
    }
    ++old;
  }
  for (; old != registered_.cend(); ++old) apply(EPOLL_CTL_DEL, *old);
  registered_ = std::move(wanted);
}

void GlibBridge::apply(int operation, const Registered& registered) {
  epoll_event event{};
  event.events = registered.events;
  event.data.fd = registered.fd;
  const int rc = epoll_ctl(epoll_.get(), operation, registered.fd, &event);
  if (rc != 0 && operation != EPOLL_CTL_DEL) unwatched_ = true;
}

}  // namespace connd::daemon
