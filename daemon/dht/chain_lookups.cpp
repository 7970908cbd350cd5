// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/chain_lookups.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {
namespace {

/// A device that has just come up is on the DHT a moment later, and nobody tells us when: who finds nothing looks again
/// so often, after pauses that double.
constexpr unsigned kLookupRounds = 3;
constexpr proto::Duration kLookupPause{250};
/// Values read in one go: 10 ms of the pool, or 0.4 s where somebody has made keys that are as long as keys can be.
constexpr std::size_t kChainsAtOnce = 16;
/// What a value counts for at least, under kMaxChainBytesPerKey.
constexpr std::size_t kLeastChainBytes = 1'024;

/// Copies of those that may be chains, as far as there is room for them. OpenDHT's thread.
std::vector<dht::Blob> copies_of(const DhtValues& values, std::atomic<std::size_t>& seen,
                                 std::atomic<std::size_t>& waiting_bytes) {
  std::vector<dht::Blob> copies;
  for (const auto& value : values) {
    const std::size_t bytes = value->data.size();
    if (bytes == 0 || bytes > kMaxChainBytes) continue;
    if (seen.fetch_add(std::max(bytes, kLeastChainBytes)) >= kMaxChainBytesPerKey) break;
    if (waiting_bytes.fetch_add(bytes) + bytes > kMaxWaitingChainBytes) {
      waiting_bytes -= bytes;
      break;
    }
    copies.push_back(value->data);
  }
  return copies;
}

}  // namespace

ChainLookups::ChainLookups(Loop& loop, DhtPoster poster, NodeUse& node)
    : loop_(loop),
      poster_(std::move(poster)),
      node_(node),
      slots_(kMaxLookups),
      waiting_bytes_(std::make_shared<std::atomic<std::size_t>>(0)) {}

void ChainLookups::find(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                        proto::TimePoint deadline, ChainUse use, ChainWanted wanted, Done done) {
  if (stopped_) {
    poster_.post([done = std::move(done)] { done(std::nullopt); });
    return;
  }
  const std::uint64_t id = ++begun_;
  Lookup& lookup = lookups_[id] = Lookup{device, short_id, std::move(wanted), std::move(done)};
  lookup.timer = std::make_unique<Timer>(loop_, [this, id] { finish(id, std::nullopt); });
  lookup.timer->arm(deadline);
  lookup.pause = std::make_unique<Timer>(loop_, [this, id] { search_all(id); });
  if (slots_.enter(id, use == ChainUse::kRequest)) search_all(id);
}

void ChainLookups::take_up() {
  const auto running = slots_.running();
  for (const std::uint64_t id : running) {
    if (lookups_.at(id).pending != 0) search_all(id);  // else it pauses
  }
}

void ChainLookups::search_all(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  const proto::DeviceId& device = lookup.device;
  lookup.pending = lookup.short_id ? 0b111u : 0b011u;
  lookup.round_over = false;
  if (!node_.can_ask()) return;  // take_up() comes back to it
  search(id, own_chain_key(device), 0b001u, dht::ValueType::USER_DATA.id, dht::Value::UserTypeFilter(kChainType));
  search(id, long_id_key(device), 0b010u, dht::CERTIFICATE_TYPE.id);
  if (lookup.short_id) search(id, hash_of(*lookup.short_id), 0b100u, dht::CERTIFICATE_TYPE.id);
}

void ChainLookups::search(std::uint64_t id, const dht::InfoHash& key, unsigned bit, dht::ValueType::Id type,
                          dht::Value::Filter filter) {
  auto seen = std::make_shared<std::atomic<std::size_t>>(0);  // shared by the copies OpenDHT makes of the callback
  node_.get(
      key, type, std::move(filter),
      [this, poster = poster_, waiting = waiting_bytes_, id, seen](const DhtValues& values) {
        poster.post(
            [this, id, copies = copies_of(values, *seen, *waiting)]() mutable { on_chains(id, std::move(copies)); });
        return seen->load() < kMaxChainBytesPerKey;
      },
      [this, id, bit] { on_search_end(id, bit); });
}

void ChainLookups::Reading::run() {
  for (const dht::Blob& packed : values) {
    if (!seen->insert(dht::InfoHash::get(packed)).second) continue;
    read_bytes += packed.size();
    if (auto chain = chain_of(packed, device))
      chains.push_back(CheckedChain::of(*std::move(chain), std::time(nullptr)));
  }
}

void ChainLookups::on_chains(std::uint64_t id, std::vector<dht::Blob> chains) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) {
    for (const dht::Blob& packed : chains) *waiting_bytes_ -= packed.size();
    return;
  }
  std::move(chains.begin(), chains.end(), std::back_inserter(found->second.waiting));
  read_some(id);
}

/// The next few of those that wait, whichever: who puts junk first is not read first.
void ChainLookups::read_some(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  if (lookup.reading || lookup.waiting.empty()) return;
  if (lookup.read_bytes >= kMaxChainBytesPerLookup) return forget_waiting(lookup);
  lookup.reading = std::make_shared<Reading>(Reading{lookup.device, lookup.seen, {}});
  std::vector<dht::Blob>& batch = lookup.reading->values;
  while (!lookup.waiting.empty() && batch.size() < kChainsAtOnce) {
    std::swap(lookup.waiting[chance_() % lookup.waiting.size()], lookup.waiting.back());
    *waiting_bytes_ -= lookup.waiting.back().size();
    batch.push_back(std::move(lookup.waiting.back()));
    lookup.waiting.pop_back();
  }
  poster_.work([reading = lookup.reading] { reading->run(); },
               [this, id, reading = lookup.reading] { on_read(id, reading); });
}

void ChainLookups::on_read(std::uint64_t id, const std::shared_ptr<Reading>& reading) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  lookup.reading.reset();
  lookup.read_bytes += reading->read_bytes;
  for (CheckedChain& checked : reading->chains) {
    if (lookup.wanted(checked)) return finish(id, std::move(checked.chain));
  }
  read_some(id);
  if (!lookup.reading && lookup.pending == 0) end_round(id);
}

void ChainLookups::on_search_end(std::uint64_t id, unsigned bit) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  lookup.pending &= ~bit;
  if (lookup.pending == 0 && !lookup.reading) end_round(id);
}

void ChainLookups::end_round(std::uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  if (std::exchange(lookup.round_over, true)) return;  // what is read now came late
  if (lookup.rounds == kLookupRounds || stopped_) return finish(id, std::nullopt);
  lookup.pause->arm_in(kLookupPause * (1 << lookup.rounds++));
}

void ChainLookups::finish(std::uint64_t id, std::optional<proto::CertificateChain> chain) {
  const auto node = lookups_.extract(id);  // its timer goes last, after the call
  if (!node) return;
  forget_waiting(node.mapped());
  if (const auto next = slots_.leave(id); next && !stopped_) search_all(*next);
  node.mapped().done(std::move(chain));
}

void ChainLookups::forget_waiting(Lookup& lookup) {
  for (const dht::Blob& packed : lookup.waiting) *waiting_bytes_ -= packed.size();
  lookup.waiting.clear();
}

void ChainLookups::end_all() {
  while (!lookups_.empty()) finish(lookups_.begin()->first, std::nullopt);
}

}  // namespace connd::daemon
