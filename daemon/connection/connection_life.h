// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionLife: how far a connection is, from its handshake to its end, and why it ends. Each change is logged at
/// debug, `from -> to`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "daemon/connection/connection_context.h"
#include "proto/device_id.h"
#include "proto/reason.h"

namespace connd::daemon {

/// In the order in which they come; some may be left out.
enum class ConnectionState : std::uint8_t {
  kHandshaking,  ///< the link proves who the peer is
  kGreeting,     ///< the link is secured, and the peer's hello awaited
  kUp,
  kClosing,   ///< it has ended, and nothing follows from it before the turn's end
  kDraining,  ///< the peer is told, and what is queued for it sent
  kDown,      ///< its owner knows
};
std::string_view name_of(ConnectionState state);

class ConnectionLife {
 public:
  ConnectionLife(ConnectionNumber number, const proto::DeviceId& peer) : number_(number), peer_(peer) {}

  [[nodiscard]] ConnectionNumber number() const { return number_; }
  [[nodiscard]] ConnectionState state() const { return state_; }
  [[nodiscard]] bool up() const { return state_ == ConnectionState::kUp; }
  /// Nothing that comes of the peer counts any more.
  [[nodiscard]] bool ending() const { return state_ >= ConnectionState::kClosing; }
  /// To a later state.
  void move_to(ConnectionState next);

  /// One of the sides has said that it is to end, and why: for when it ends without another reason.
  void will_end(proto::Reason reason) { reason_ = reason; }
  /// To kClosing. False: it is there, or behind it, and keeps its reason.
  bool end(proto::Reason reason, std::string text, std::error_code error);
  /// What is queued for the peer goes before the end. One that is ending already has nothing to wait for.
  void drain() { drains_ |= !ending(); }

  [[nodiscard]] proto::Reason reason() const { return reason_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  /// What proto/ found, if it did.
  [[nodiscard]] std::error_code error() const { return error_; }
  [[nodiscard]] bool drains() const { return drains_; }
  /// Of channels that end with it: its own reason, or that it was lost to them.
  [[nodiscard]] proto::Reason reason_for_channels() const;

 private:
  const ConnectionNumber number_;
  const proto::DeviceId peer_;
  ConnectionState state_ = ConnectionState::kHandshaking;
  proto::Reason reason_ = proto::Reason::kClosed;
  std::string text_;
  std::error_code error_;
  bool drains_ = false;
};

}  // namespace connd::daemon
