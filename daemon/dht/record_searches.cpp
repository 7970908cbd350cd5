// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/record_searches.h"

#include <algorithm>
#include <utility>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {

RecordSearches::RecordSearches(Loop& loop, DhtPoster poster, NodeUse& node)
    : loop_(loop), poster_(std::move(poster)), node_(node) {}

void RecordSearches::find(const std::string& name, proto::TimePoint deadline, Done done) {
  if (stopped_ || searches_.size() >= kMaxLookups) {
    poster_.post([done = std::move(done)] { done({}); });
    return;
  }
  const std::uint64_t id = next_id_++;
  Search& search = searches_[id];
  search.key = dht::InfoHash::get(name);
  search.done = std::move(done);
  search.timer = std::make_unique<Timer>(loop_, [this, id] { finish(id); });
  search.timer->arm(deadline);
  this->search(id);
}

void RecordSearches::take_up() {
  for (const auto& [id, search] : searches_) this->search(id);
}

/// Copies of those that may be a record, as far as there is room for them. OpenDHT's thread.
std::vector<RecordSearches::Record> RecordSearches::records_in(const DhtValues& values,
                                                               std::atomic<std::size_t>& seen) {
  constexpr std::size_t kLeastBytes = 1'024;  // what each counts for
  std::vector<Record> copies;
  for (const auto& value : values) {
    const std::size_t bytes = value->data.size();
    if (bytes == 0 || bytes > kMaxRecordBytes) continue;
    if (seen.fetch_add(std::max(bytes, kLeastBytes)) >= kMaxRecordBytesPerKey) break;
    copies.push_back({dht::InfoHash::get(value->data), value->data});
  }
  return copies;
}

void RecordSearches::search(std::uint64_t id) {
  if (!node_.can_ask()) return;                               // take_up() comes back to it
  auto seen = std::make_shared<std::atomic<std::size_t>>(0);  // shared by the copies OpenDHT makes of the callback
  node_.get(
      searches_.at(id).key, dht::ValueType::USER_DATA.id, dht::Value::UserTypeFilter(kRecordType),
      [this, poster = poster_, id, seen](const DhtValues& values) {
        poster.post([this, id, copies = records_in(values, *seen)]() mutable { on_records(id, std::move(copies)); });
        return seen->load() < kMaxRecordBytesPerKey;
      },
      [this, id] { finish(id); });
}

void RecordSearches::on_records(std::uint64_t id, std::vector<Record> records) {
  const auto found = searches_.find(id);
  if (found == searches_.end()) return;
  for (Record& record : records) {
    if (found->second.seen.insert(record.hash).second) found->second.records.push_back(std::move(record.data));
  }
}

void RecordSearches::finish(std::uint64_t id) {
  const auto node = searches_.extract(id);  // its timer goes last, after the call
  if (node) node.mapped().done(node.mapped().records);
}

void RecordSearches::end_all() {
  while (!searches_.empty()) finish(searches_.begin()->first);
}

}  // namespace connd::daemon
