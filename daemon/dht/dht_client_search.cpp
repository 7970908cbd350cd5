// SPDX-License-Identifier: GPL-3.0-or-later
// What the client looks for on the DHT: certificates of devices, and the devices of accounts.
#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include "daemon/dht/dht_client_impl.h"

namespace connd::daemon {
namespace {

/// A device that has just come up is on the DHT a moment later, and nobody tells us when: who finds nothing looks again
/// so often, after pauses that double.
constexpr unsigned kLookupRounds = 3;
constexpr proto::Duration kLookupPause{250};
/// Who looks for the devices of an account, and finds none, looks again until its time is over.
constexpr proto::Duration kDeviceSearchPause{500};
/// Values read in one go: 10 ms of the pool, or 0.4 s where somebody has made keys that are as long as keys can be.
constexpr std::size_t kChainsAtOnce = 16;

}  // namespace

bool DhtClient::Impl::Slots::enter(std::uint64_t id, bool first) {
  if (running_.size() < kMaxLookups) return running_.insert(id).second;
  waiting_.insert(first ? waiting_.begin() : waiting_.end(), id);
  return false;
}

std::optional<std::uint64_t> DhtClient::Impl::Slots::leave(std::uint64_t id) {
  if (running_.erase(id) == 0) {
    std::erase(waiting_, id);
    return std::nullopt;
  }
  if (waiting_.empty()) return std::nullopt;
  const std::uint64_t next = waiting_.front();
  waiting_.pop_front();
  running_.insert(next);
  return next;
}

void DhtClient::Impl::find_certificate(const proto::DeviceId& device,
                                       const std::optional<proto::ShortDeviceId>& short_id, proto::TimePoint deadline,
                                       ChainUse use, ChainWanted wanted,
                                       std::function<void(std::optional<proto::CertificateChain>)> done) {
  if (shutting_down_) {
    later([done = std::move(done)](Impl&) { done(std::nullopt); });
    return;
  }
  ++status_.lookups;
  const std::uint64_t id = next_id_++;
  Lookup& lookup = lookups_[id] = Lookup{device, short_id, std::move(wanted), std::move(done)};
  lookup.timer = std::make_unique<Timer>(loop_, [this, id] { finish_lookup(id, std::nullopt); });
  lookup.timer->arm(deadline);
  lookup.pause = std::make_unique<Timer>(loop_, [this, id] { search_all(id); });
  if (lookup_slots_.enter(id, use == ChainUse::kRequest)) search_all(id);
}

void DhtClient::Impl::search_all(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  const proto::DeviceId& device = lookup.device;
  lookup.pending = lookup.short_id ? 0b111u : 0b011u;
  lookup.round_over = false;
  if (!can_ask()) return;  // begin_node() comes back to it
  search(id, own_chain_key(device), 0b001u, dht::ValueType::USER_DATA, dht::Value::UserTypeFilter(kChainType));
  search(id, long_id_key(device), 0b010u, dht::CERTIFICATE_TYPE);
  if (lookup.short_id) search(id, hash_of(*lookup.short_id), 0b100u, dht::CERTIFICATE_TYPE);
}

// Of one type, always: what our own node keeps under a key is checked on OpenDHT's thread, where nobody catches what a
// check throws; types that are not registered were stored without any check.
void DhtClient::Impl::search(std::uint64_t lookup, const dht::InfoHash& key, unsigned bit, const dht::ValueType& type,
                             dht::Value::Filter filter) {
  auto seen = std::make_shared<std::atomic<std::size_t>>(0);  // shared by the copies OpenDHT makes of the callback
  node_->runner.get(key, dht::GetCallback([bridge = bridge_, lookup, seen](const DhtValues& values) {
                      return bridge->chains(lookup, *seen, values);
                    }),
                    dht::DoneCallback([bridge = bridge_, node = generation_, lookup, bit](bool, const DhtNodes&) {
                      bridge->lookup_end(node, lookup, bit);
                    }),
                    std::move(filter), dht::Where().valueType(type.id));
}

void DhtClient::Impl::ChainReading::run() {
  for (const dht::Blob& packed : values) {
    if (!seen->insert(dht::InfoHash::get(packed)).second) continue;
    read_bytes += packed.size();
    if (auto chain = chain_of(packed, device))
      chains.push_back(CheckedChain::of(*std::move(chain), std::time(nullptr)));
  }
}

void DhtClient::Impl::on_chains(std::uint64_t id, std::vector<dht::Blob> chains) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) {
    for (const dht::Blob& packed : chains) bridge_->waiting_chain_bytes -= packed.size();
    return;
  }
  std::move(chains.begin(), chains.end(), std::back_inserter(found->second.waiting));
  read_some(id);
}

/// The next few of those that wait, whichever: who puts junk first is not read first.
void DhtClient::Impl::read_some(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  if (lookup.reading || lookup.waiting.empty()) return;
  if (lookup.read_bytes >= kMaxChainBytesPerLookup) return forget_waiting(lookup);
  lookup.reading = std::make_shared<ChainReading>(ChainReading{lookup.device, lookup.seen, {}});
  std::vector<dht::Blob>& batch = lookup.reading->values;
  while (!lookup.waiting.empty() && batch.size() < kChainsAtOnce) {
    std::swap(lookup.waiting[chance_() % lookup.waiting.size()], lookup.waiting.back());
    bridge_->waiting_chain_bytes -= lookup.waiting.back().size();
    batch.push_back(std::move(lookup.waiting.back()));
    lookup.waiting.pop_back();
  }
  loop_.post_work([reading = lookup.reading] { reading->run(); },
                  [weak = weak_from_this(), id, reading = lookup.reading] {
                    if (const auto self = weak.lock()) self->on_chains_read(id, reading);
                  });
}

void DhtClient::Impl::on_chains_read(std::uint64_t id, const std::shared_ptr<ChainReading>& reading) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  lookup.reading.reset();
  lookup.read_bytes += reading->read_bytes;
  for (CheckedChain& checked : reading->chains) {
    if (lookup.wanted(checked)) return finish_lookup(id, std::move(checked.chain));
  }
  read_some(id);
  if (!lookup.reading && lookup.pending == 0) end_round(id);
}

void DhtClient::Impl::forget_waiting(Lookup& lookup) {
  for (const dht::Blob& packed : lookup.waiting) bridge_->waiting_chain_bytes -= packed.size();
  lookup.waiting.clear();
}

void DhtClient::Impl::on_lookup_end(std::uint64_t id, unsigned bit) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  lookup.pending &= ~bit;
  if (lookup.pending == 0 && !lookup.reading) end_round(id);
}

void DhtClient::Impl::end_round(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  if (std::exchange(lookup.round_over, true)) return;  // what is read now came late
  if (lookup.rounds == kLookupRounds || shutting_down_) return finish_lookup(id, std::nullopt);
  lookup.pause->arm_in(kLookupPause * (1 << lookup.rounds++));
}

void DhtClient::Impl::find_devices(const proto::AccountId& account, proto::TimePoint deadline,
                                   std::function<void(const std::optional<DhtDevice>&)> found) {
  if (shutting_down_) {
    later([found = std::move(found)](Impl&) { found(std::nullopt); });
    return;
  }
  const std::uint64_t id = next_id_++;
  DeviceSearch& search = device_searches_[id];
  search.account = account;
  search.found = std::move(found);
  search.timer = std::make_unique<Timer>(loop_, [this, id] { finish_device_search(id); });
  search.timer->arm(deadline);
  search.pause = std::make_unique<Timer>(loop_, [this, id] { search_devices(id); });
  if (device_search_slots_.enter(id)) search_devices(id);
}

void DhtClient::Impl::search_devices(std::uint64_t id) {
  DeviceSearch& search = device_searches_.at(id);
  search.pending = 0;
  search.pause->stop();
  if (!can_ask()) return;  // begin_node() comes back to it
  const dht::InfoHash key(search.account.bytes.data(), search.account.bytes.size());
  auto seen = std::make_shared<std::atomic<unsigned>>(0);  // shared by the copies OpenDHT makes of the callback
  // Announcements, and the certificate of a short id. One type at a time, as in search().
  for (const dht::ValueType& type : {dht::ValueType::USER_DATA, dht::CERTIFICATE_TYPE}) {
    node_->runner.get(key, dht::GetCallback([bridge = bridge_, id, key, seen](const DhtValues& values) {
                        return bridge->devices(id, key, *seen, values);
                      }),
                      dht::DoneCallback([bridge = bridge_, node = generation_, id](bool, const DhtNodes&) {
                        bridge->device_search_end(node, id);
                      }),
                      {}, dht::Where().valueType(type.id));
    ++search.pending;
  }
}

/// Certificates are read on the pool, and anybody may have put them there.
void DhtClient::Impl::on_devices(std::uint64_t id, std::vector<Announced> values) {
  const auto search = device_searches_.find(id);
  if (values.empty() || search == device_searches_.end()) return;
  ++search->second.pending;                                         // until they are read
  const auto devices = std::make_shared<std::vector<DhtDevice>>();  // second owner: the pool
  loop_.post_work(
      [devices, values = std::move(values)] {
        for (const Announced& value : values) {
          if (auto device = device_of(value)) devices->push_back(*std::move(device));
        }
      },
      [weak = weak_from_this(), generation = generation_, id, devices] {
        const auto self = weak.lock();
        if (!self) return;
        self->on_devices_read(id, *devices);
        if (generation == self->generation_) self->on_device_search_end(id);
      });
}

void DhtClient::Impl::on_devices_read(std::uint64_t id, const std::vector<DhtDevice>& devices) {
  for (const DhtDevice& device : devices) {
    const auto search = device_searches_.find(id);
    if (search == device_searches_.end()) return;
    if (!search->second.seen.insert(device.id).second) continue;
    const auto call = search->second.found;  // a copy: the callback may end the search, or the client
    call(device);
  }
}

void DhtClient::Impl::on_device_search_end(std::uint64_t id) {
  const auto search = device_searches_.find(id);
  if (search == device_searches_.end() || search->second.pending == 0 || --search->second.pending != 0) return;
  if (!search->second.seen.empty() || shutting_down_) return finish_device_search(id);
  search->second.pause->arm_in(kDeviceSearchPause);
}

void DhtClient::Impl::finish_device_search(std::uint64_t id) {
  const auto node = device_searches_.extract(id);  // its timer goes last, after the call
  if (!node) return;
  if (const auto next = device_search_slots_.leave(id); next && !shutting_down_) search_devices(*next);
  node.mapped().found(std::nullopt);
}

void DhtClient::Impl::finish_lookup(std::uint64_t id, std::optional<proto::CertificateChain> chain) {
  const auto node = lookups_.extract(id);  // its timer goes last, after the call
  if (!node) return;
  forget_waiting(node.mapped());
  if (const auto next = lookup_slots_.leave(id); next && !shutting_down_) search_all(*next);
  node.mapped().done(std::move(chain));
}

}  // namespace connd::daemon
