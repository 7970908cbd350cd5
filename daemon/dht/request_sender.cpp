// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/request_sender.h"

#include <utility>

namespace connd::daemon {

RequestSender::RequestSender(DhtPoster poster, NodeUse& node, std::shared_ptr<dht::crypto::PrivateKey> key)
    : poster_(std::move(poster)), node_(node), key_(std::move(key)) {}

void RequestSender::send(proto::Bytes peer_key_der, proto::Bytes body, RequestKeys keys,
                         const std::vector<proto::PairKey>& pair_keys, Done done) {
  const bool room = unsent_.size() < kMaxUnsent && unsent_bytes_ + body.size() <= kMaxUnsentBytes;
  if (stopped_ || !room || body.size() > kMaxRequestBodyBytes) {
    poster_.post([done = std::move(done)] { done(false); });
    return;
  }
  const std::uint64_t id = next_id_++;
  sends_[id].done = std::move(done);
  // Signing costs 1 to 5 ms: not the loop's, and once for all keys.
  auto job = std::make_shared<Sealing>();
  job->key = key_;
  job->peer_key_der.assign(peer_key_der.begin(), peer_key_der.end());
  job->body.assign(body.begin(), body.end());
  job->keys = keys;
  for (const proto::PairKey& key : pair_keys) job->at.push_back(hash_of(key));
  unsent_bytes_ += job->body.size();
  unsent_.push_back({id, std::move(job)});
  begin_unsent();
}

void RequestSender::begin_unsent() {
  while (!unsent_.empty() && sends_.size() - unsent_.size() < kMaxSends) {
    const Unsent next = std::move(unsent_.front());
    unsent_.pop_front();
    unsent_bytes_ -= next.job->body.size();
    begin(next.id, next.job);
  }
}

void RequestSender::begin(std::uint64_t id, const std::shared_ptr<Sealing>& job) {
  poster_.work([job] { job->run(); }, [this, job, id] { on_sealed(id, job); });
}

void RequestSender::on_sealed(std::uint64_t id, const std::shared_ptr<const Sealing>& sealed) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (sealed->at.empty() || stopped_) return finish(id, false);
  found->second.sealed = sealed;
  put(id);
}

void RequestSender::put(std::uint64_t id) {
  Send& send = sends_.at(id);
  const Sealing& sealed = *send.sealed;
  send.pending = static_cast<int>(sealed.at.size());
  if (!node_.can_ask()) return;  // take_up() comes back to it
  for (const auto& key : sealed.at) {
    auto value = std::make_shared<dht::Value>(sealed.id);  // one each: OpenDHT keeps and may edit it
    value->setCypher(dht::Blob(sealed.cypher));
    node_.send(key, std::move(value), [this, id](bool ok) { on_put_end(id, ok); });
  }
}

void RequestSender::take_up() {
  for (const auto& [id, send] : sends_) {
    if (send.sealed) put(id);
  }
}

void RequestSender::on_put_end(std::uint64_t id, bool ok) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (ok || --found->second.pending == 0) finish(id, ok);
}

void RequestSender::finish(std::uint64_t id, bool ok) {
  const auto node = sends_.extract(id);
  begin_unsent();
  if (node) node.mapped().done(ok);
}

void RequestSender::end_all() {
  unsent_.clear();
  unsent_bytes_ = 0;
  while (!sends_.empty()) finish(sends_.begin()->first, false);
}

void RequestSender::clear() {
  unsent_.clear();
  sends_.clear();
}

}  // namespace connd::daemon
