// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_life.h"

#include <cassert>
#include <utility>

#include <spdlog/spdlog.h>

namespace connd::daemon {

std::string_view name_of(ConnectionState state) {
  static constexpr std::string_view kNames[] = {"handshaking", "greeting", "up", "closing", "draining", "down"};
  return kNames[static_cast<std::size_t>(state)];
}

void ConnectionLife::move_to(ConnectionState next) {
  assert(next > state_);
  spdlog::debug("connection={} peer={} state={}->{}", number_, peer_.abbreviated(), name_of(state_), name_of(next));
  state_ = next;
}

bool ConnectionLife::end(proto::Reason reason, std::string text, std::error_code error) {
  if (ending()) return false;
  move_to(ConnectionState::kClosing);
  reason_ = reason;
  text_ = std::move(text);
  error_ = error;
  return true;
}

/// PROTOCOL.md 13: "Channels that are open then end with `connection-lost`, or the error's reason".
proto::Reason ConnectionLife::reason_for_channels() const {
  const bool broken = proto::reason_info(reason_).exit_code != 0;
  return broken ? reason_ : proto::Reason::kConnectionLost;
}

}  // namespace connd::daemon
