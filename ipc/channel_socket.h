// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// ChannelSocket: an app's end of one channel to a peer. A file descriptor to read and write, and the truth about how
/// the channel ended.
///
/// The fd is an ordinary blocking stream socket: EOF on it is the peer's end of data, but an abort can look the same
/// there. Only `end()` / `on_closed` tells: data is complete if, and only if, the end is clean. It is the app's duty to
/// ask before it trusts what it read.
///
/// Owned by the app, which may destroy it whenever it likes, also from a callback and after its Client. Destroying it
/// without `finish()` aborts the channel: the peer sees a reset. Used on the Client's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ipc/error.h"
#include "ipc/fd.h"

namespace connd::ipc {

class ClientChannels;

/// How a channel ended.
struct ChannelEnd {
  Reason reason = Reason::kInternal;
  std::uint64_t bytes_in = 0;   ///< bytes from the peer that the fd took
  std::uint64_t bytes_out = 0;  ///< bytes of the app that went to the connection
  std::string detail;

  /// True when both directions ended as they should: nothing was cut off.
  [[nodiscard]] bool clean() const { return reason == Reason::kClosed; }
  /// Success when clean, else what happened.
  [[nodiscard]] Outcome<void> result() const;
};

namespace detail {

/// The Client's channels, for what outlives them; null once the Client is gone.
struct ClientLink {
  ClientChannels* channels = nullptr;
};

/// What the Client knows of one channel. Owned by the Client, until the end is told, and by the ChannelSocket, which
/// may live longer: hence shared.
struct ChannelState {
  std::shared_ptr<ClientLink> link;  // owned by the Client and by all that must notice that it is gone
  std::uint64_t handle = 0;
  std::string device;
  std::string account;
  std::string uri;
  bool half_close = true;
  std::optional<ChannelEnd> end;
  std::function<void(const ChannelEnd&)> on_closed;
};

}  // namespace detail

class ChannelSocket {
 public:
  using ClosedHandler = std::function<void(const ChannelEnd&)>;

  ChannelSocket(ChannelSocket&&) noexcept = default;
  ChannelSocket& operator=(ChannelSocket&& other) noexcept;
  ~ChannelSocket();

  /// Stays ours; -1 after `close` or `release_fd`.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint64_t handle() const { return state_->handle; }
  [[nodiscard]] const std::string& device() const { return state_->device; }    ///< peer's device id, 64 hex digits
  [[nodiscard]] const std::string& account() const { return state_->account; }  ///< account id, 40 hex digits
  [[nodiscard]] const std::string& uri() const { return state_->uri; }
  /// False with a peer of Jami, which cannot end one direction alone: there `finish` is held back until both can end.
  [[nodiscard]] bool half_close() const { return state_->half_close; }

  /// Ends our direction cleanly: all that was written to the fd before this call is the whole of it, and the peer reads
  /// EOF after it. Nothing may be written after. The other direction goes on until the peer ends it.
  void finish();
  /// Closes the fd. After `finish`, and once EOF was read, that is the proper end; otherwise it is an abort.
  void close() { fd_.reset(); }
  /// Gives the fd away, for instance to a child process. The channel's end is told all the same.
  [[nodiscard]] Fd release_fd() { return std::move(fd_); }

  /// The end, once it is known. `connection-lost` when the daemon has gone away, or the Client was destroyed.
  [[nodiscard]] const std::optional<ChannelEnd>& end() const { return state_->end; }
  /// Called once, from Client::process or a blocking call, when the end becomes known; if it is known already, then
  /// from the next one. Never after the ChannelSocket is destroyed.
  void on_closed(ClosedHandler handler);
  /// Blocks until the end is known, and returns it; `timed-out` when that takes longer. Close the fd, or read it to its
  /// end, before: a channel with an open fd may never end.
  [[nodiscard]] Outcome<ChannelEnd> wait_end(std::chrono::milliseconds timeout);

 private:
  friend class ClientChannels;
  ChannelSocket(Fd fd, std::shared_ptr<detail::ChannelState> state) : fd_(std::move(fd)), state_(std::move(state)) {}
  void forget();

  Fd fd_;
  std::shared_ptr<detail::ChannelState> state_;  // the Client is the other owner: see ChannelState
};

}  // namespace connd::ipc
