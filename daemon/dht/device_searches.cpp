// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/device_searches.h"

#include <atomic>
#include <utility>

namespace connd::daemon {
namespace {

/// Who looks for the devices of an account, and finds none, looks again until its time is over.
constexpr proto::Duration kDeviceSearchPause{500};

/// Copies of those that may be a device, at most kMaxValuesPerKey. OpenDHT's thread.
std::vector<Announced> announced_in(const DhtValues& values, const dht::InfoHash& key, std::atomic<unsigned>& seen) {
  std::vector<Announced> copies;
  for (const auto& value : values) {
    if (value->data.size() > kMaxChainBytes) continue;
    const bool chain = value->type == dht::CERTIFICATE_TYPE.id;
    // OpenDHT has checked the signature of what is signed.
    if (!chain && !(value->isSigned() && value->owner->getId() == key)) continue;
    if (seen.fetch_add(1) >= kMaxValuesPerKey) break;
    copies.push_back({key, chain, value->data});
  }
  return copies;
}

}  // namespace

DeviceSearches::DeviceSearches(Loop& loop, DhtPoster poster, NodeUse& node)
    : loop_(loop), poster_(std::move(poster)), node_(node), slots_(kMaxLookups) {}

void DeviceSearches::find(const proto::AccountId& account, proto::TimePoint deadline, Found found) {
  if (stopped_) {
    poster_.post([found = std::move(found)] { found(std::nullopt); });
    return;
  }
  const std::uint64_t id = next_id_++;
  Search& search = searches_[id];
  search.account = account;
  search.found = std::move(found);
  search.timer = std::make_unique<Timer>(loop_, [this, id] { finish(id); });
  search.timer->arm(deadline);
  search.pause = std::make_unique<Timer>(loop_, [this, id] { this->search(id); });
  if (slots_.enter(id)) this->search(id);
}

void DeviceSearches::take_up() {
  const auto running = slots_.running();
  for (const std::uint64_t id : running) search(id);
}

void DeviceSearches::search(std::uint64_t id) {
  Search& search = searches_.at(id);
  ++search.rounds;
  search.pending = 0;
  search.pause->stop();
  if (!node_.can_ask()) return;  // take_up() comes back to it
  const dht::InfoHash key(search.account.bytes.data(), search.account.bytes.size());
  auto seen = std::make_shared<std::atomic<unsigned>>(0);  // shared by the copies OpenDHT makes of the callback
  // Announcements, and the certificate of a short id.
  for (const dht::ValueType& type : {dht::ValueType::USER_DATA, dht::CERTIFICATE_TYPE}) {
    node_.get(
        key, type.id, {},
        [this, poster = poster_, id, key, seen](const DhtValues& values) {
          poster.post(
              [this, id, copies = announced_in(values, key, *seen)]() mutable { on_values(id, std::move(copies)); });
          return seen->load() < kMaxValuesPerKey;
        },
        [this, id] { on_part_over(id); });
    ++search.pending;
  }
}

/// Certificates are read on the pool, and anybody may have put them there.
void DeviceSearches::on_values(std::uint64_t id, std::vector<Announced> values) {
  const auto search = searches_.find(id);
  if (values.empty() || search == searches_.end()) return;
  ++search->second.pending;                                         // until they are read
  const auto devices = std::make_shared<std::vector<DhtDevice>>();  // second owner: the pool
  poster_.work(
      [devices, values = std::move(values)] {
        for (const Announced& value : values) {
          if (auto device = device_of(value)) devices->push_back(*std::move(device));
        }
      },
      [this, id, round = search->second.rounds, devices] {
        on_read(id, *devices);
        const auto again = searches_.find(id);
        if (again != searches_.end() && again->second.rounds == round) on_part_over(id);
      });
}

void DeviceSearches::on_read(std::uint64_t id, const std::vector<DhtDevice>& devices) {
  for (const DhtDevice& device : devices) {
    const auto search = searches_.find(id);
    if (search == searches_.end()) return;
    if (!search->second.seen.insert(device.id).second) continue;
    const auto call = search->second.found;  // a copy: the callback may end the search, or the client
    call(device);
  }
}

void DeviceSearches::on_part_over(std::uint64_t id) {
  const auto search = searches_.find(id);
  if (search == searches_.end() || search->second.pending == 0 || --search->second.pending != 0) return;
  if (!search->second.seen.empty() || stopped_) return finish(id);
  search->second.pause->arm_in(kDeviceSearchPause);
}

void DeviceSearches::finish(std::uint64_t id) {
  const auto node = searches_.extract(id);  // its timer goes last, after the call
  if (!node) return;
  if (const auto next = slots_.leave(id); next && !stopped_) search(*next);
  node.mapped().found(std::nullopt);
}

void DeviceSearches::end_all() {
  while (!searches_.empty()) finish(searches_.begin()->first);
}

}  // namespace connd::daemon
