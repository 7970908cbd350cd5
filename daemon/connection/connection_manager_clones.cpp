// SPDX-License-Identifier: GPL-3.0-or-later
// Another daemon that has this device's keys: what we tell ourselves by the DHT, and what comes of it.
#include <spdlog/spdlog.h>

#include "daemon/connection/connection_manager.h"

namespace connd::daemon {

void ConnectionManager::tell_self(const std::optional<proto::SelfNote>& note) {
  clones_timer_.arm(clones_.next_deadline());
  if (!note || shutting_down()) return;
  proto::ConnectionRequest request;
  request.id = std::uniform_int_distribution<std::uint64_t>(1, proto::ConnectionRequest::kMaxId)(random_);
  request.native_version = proto::ConnectionRequest::kNativeVersion;
  request.self = note;
  context_.signalling.send({settings_.own_public_key, SignalKeys::kLong}, request.encode());
}

void ConnectionManager::on_self_note(const proto::SelfNote& note) {
  const proto::TimePoint now = context_.connections.loop.now();
  const bool before = clones_.last_seen(now).has_value();
  tell_self(clones_.heard(note, now));
  if (before || !clones_.last_seen(now)) return;
  spdlog::warn("another daemon runs with this device's identity: peers reach the one or the other");
  context_.events.publish("identity.cloned", {{"device", own_.hex()}});
}

std::optional<proto::TimePoint> ConnectionManager::clone_seen() const {
  return clones_.last_seen(context_.connections.loop.now());
}

}  // namespace connd::daemon
