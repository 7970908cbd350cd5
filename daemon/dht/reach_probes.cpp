// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reach_probes.h"

#include <cstring>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {

std::shared_ptr<dht::Value> ReachProbes::make(std::size_t key) {
  const std::uint64_t content = random_value_id();
  contents_[key] = content;
  // A value that is not signed cannot be edited: another one each time. Ten of them are alive at a time.
  auto value = std::make_shared<dht::Value>(
      dht::ValueType::USER_DATA.id,
      dht::Blob(reinterpret_cast<const std::uint8_t*>(&content), reinterpret_cast<const std::uint8_t*>(&content + 1)),
      random_value_id());
  value->user_type = kProbeType;
  objects_[key] = value.get();
  return value;
}

void ReachProbes::forget() {
  for (auto& content : contents_) content = 0;
}

void ReachProbes::on_value(const std::shared_ptr<dht::Value>& value, std::size_t key) {
  std::uint64_t said = 0;
  if (value->data.size() != sizeof said) return;
  std::memcpy(&said, value->data.data(), sizeof said);
  if (said == 0 || said != contents_[key]) return;
  if (value.get() == objects_[key]) return let_it_come_back(value, key);
  if (!contents_[key].compare_exchange_strong(said, 0)) return;
  poster_.post([this, key] { came_back_(key); });
}

/// Before OpenDHT 2.4 sends what it puts, it keeps it at our own node, and our listens are given that very object.
/// They do not hear of its id again: what is told them from elsewhere they take for the same. So it goes out with
/// another one. Its own it has again when the next test comes, for by it OpenDHT forgets it after ten minutes.
void ReachProbes::let_it_come_back(const std::shared_ptr<dht::Value>& value, std::size_t key) {
  auto& [former, id] = former_[key];
  if (const auto before = former.lock()) before->id = id;
  former = value;
  id = std::exchange(value->id, random_value_id());
}

}  // namespace connd::daemon
