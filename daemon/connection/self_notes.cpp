// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/self_notes.h"

#include <utility>

#include <spdlog/spdlog.h>

namespace connd::daemon {
namespace {

std::uint64_t any_number(std::mt19937_64& random) {
  return std::uniform_int_distribution<std::uint64_t>(1, proto::ConnectionRequest::kMaxId)(random);
}

}  // namespace

SelfNotes::SelfNotes(Loop& loop, Signalling& signalling, EventHub& events, const proto::DeviceId& own,
                     proto::ByteVector own_public_key)
    : loop_(loop),
      signalling_(signalling),
      events_(events),
      own_(own),
      own_public_key_(std::move(own_public_key)),
      clones_(any_number(random_), loop.now()),
      timer_(loop, [this] { tell(clones_.on_timeout(loop_.now())); }) {
  if (!own_public_key_.empty()) timer_.arm(clones_.next_deadline());
}

void SelfNotes::stop() {
  stopped_ = true;
  timer_.stop();
}

void SelfNotes::tell(const std::optional<proto::SelfNote>& note) {
  timer_.arm(clones_.next_deadline());
  if (!note) return;
  proto::ConnectionRequest request;
  request.id = any_number(random_);
  request.native_version = proto::ConnectionRequest::kNativeVersion;
  request.self = note;
  signalling_.send({own_public_key_, SignalKeys::kLong}, request.encode());
}

void SelfNotes::heard(const proto::SelfNote& note) {
  if (own_public_key_.empty() || stopped_) return;
  const proto::TimePoint now = loop_.now();
  const bool before = last_seen().has_value();
  tell(clones_.heard(note, now));
  if (before || !last_seen()) return;
  spdlog::warn("another daemon runs with this device's identity: peers reach the one or the other");
  events_.publish("identity.cloned", {{"device", own_.hex()}});
}

}  // namespace connd::daemon
