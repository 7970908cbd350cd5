// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/request_intake.h"

#include <utility>

namespace connd::daemon {
namespace {

/// What strangers can make us spend on opening requests: a quarter of one core's time, and at once 2 s of it, or some
/// 250 requests with a key of 4,096 bits.
constexpr RequestOpener::Budget kPublicBudget{kMaxWaitingRequests, 4, std::chrono::seconds(8)};
/// What peers, and storage nodes that see their keys, can: a tenth, and half a second at once, or some 60 requests.
constexpr RequestOpener::Budget kPairBudget{kMaxWaitingPairRequests, 10, std::chrono::seconds(5)};

}  // namespace

void RequestDoor::knock(const dht::Value& value, const Arrival& arrival) {
  const bool by_pair = arrival.pair_peer.has_value();
  const auto hash = value.isEncrypted() ? dht::InfoHash::get(value.cypher) : dht::InfoHash::get(value.getToSign());
  auto& recent = recent_[by_pair ? 2 : arrival.at_short_key ? 1 : 0];
  if (!recent.add(hash)) return;
  if (!value.isEncrypted()) return count_ignored();
  if (waiting(arrival).fetch_add(1) >= (by_pair ? kMaxWaitingPairRequests : kMaxWaitingRequests)) {
    --waiting(arrival);
    recent.forget_last();  // its next copy may find room
    return count_dropped();
  }
  poster_.post([this, sealed = SealedRequest{value.cypher, arrival}]() mutable {
    --waiting(sealed.arrival);
    through_(std::move(sealed));
  });
}

RequestIntake::RequestIntake(Loop& loop, const DhtPoster& poster, const DhtBeginning& beginning,
                             std::function<void(const IncomingRequest&)> on_request)
    : on_request_(std::move(on_request)),
      door_(std::make_shared<RequestDoor>(poster, [this](SealedRequest sealed) { on_sealed(std::move(sealed)); })),
      public_(loop, beginning.keys.device.first, kPublicBudget, [this](const auto& request) { on_opened(request); }),
      pairs_(loop, beginning.opens, kPairBudget, [this](const auto& request) { on_opened(request); }) {}

void RequestIntake::on_sealed(SealedRequest sealed) {
  if (stopped_) return;
  RequestOpener& opener = sealed.arrival.pair_peer ? pairs_ : public_;
  if (!opener.add(std::move(sealed))) door_->count_dropped();
}

void RequestIntake::on_opened(const std::optional<IncomingRequest>& request) {
  if (stopped_) return;
  if (!request) return door_->count_ignored();
  ++received_;
  const auto call = on_request_;  // a copy: the callback may destroy the client
  call(*request);
}

void RequestIntake::stop() {
  stopped_ = true;
  public_.stop();
  pairs_.stop();
}

}  // namespace connd::daemon
