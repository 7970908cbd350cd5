// SPDX-License-Identifier: GPL-3.0-or-later
// Records that anybody may read, under a name: what we put, and what others have put.
#include "daemon/dht/dht_client_impl.h"

namespace connd::daemon {

void DhtClient::Impl::publish(const std::string& name, proto::Bytes data) {
  if (shutting_down_) return;
  const dht::InfoHash key = dht::InfoHash::get(name);
  const auto former = std::find_if(kept_.begin(), kept_.end(), [&key](const DhtKept& kept) {
    return kept.key == key && kept.put && kept.put->user_type == kRecordType;
  });
  if (former != kept_.end()) {
    if (std::equal(data.begin(), data.end(), former->put->data.begin(), former->put->data.end())) return;
    if (node_) node_->runner.cancelPut(key, former->put->id);
    kept_.erase(former);
  }
  auto value = std::make_shared<dht::Value>(dht::ValueType::USER_DATA.id, dht::Blob(data.begin(), data.end()),
                                            record_value_id(data, static_cast<unsigned>(chance_() % kRecordIds)));
  value->user_type = kRecordType;
  keep({key, {}, std::move(value)});
}

void DhtClient::Impl::find_published(const std::string& name, proto::TimePoint deadline,
                                     std::function<void(const std::vector<proto::ByteVector>&)> done) {
  if (shutting_down_ || record_searches_.size() >= kMaxLookups) {
    later([done = std::move(done)](Impl&) { done({}); });
    return;
  }
  const std::uint64_t id = next_id_++;
  RecordSearch& search = record_searches_[id];
  search.key = dht::InfoHash::get(name);
  search.done = std::move(done);
  search.timer = std::make_unique<Timer>(loop_, [this, id] { finish_record_search(id); });
  search.timer->arm(deadline);
  search_records(id);
}

void DhtClient::Impl::search_records(std::uint64_t id) {
  if (!can_ask()) return;                                     // take_up_pending() comes back to it
  auto seen = std::make_shared<std::atomic<std::size_t>>(0);  // shared by the copies OpenDHT makes of the callback
  node_->runner.get(record_searches_.at(id).key,
                    dht::GetCallback([bridge = bridge_, id, seen](const DhtValues& values) {
                      return bridge->records(id, *seen, values);
                    }),
                    dht::DoneCallback([bridge = bridge_, node = generation_, id](bool, const DhtNodes&) {
                      bridge->record_search_end(node, id);
                    }),
                    dht::Value::UserTypeFilter(kRecordType), dht::Where().valueType(dht::ValueType::USER_DATA.id));
}

void DhtClient::Impl::on_records(std::uint64_t id, std::vector<FoundRecord> records) {
  const auto found = record_searches_.find(id);
  if (found == record_searches_.end()) return;
  for (FoundRecord& record : records) {
    if (found->second.seen.insert(record.hash).second) found->second.records.push_back(std::move(record.data));
  }
}

void DhtClient::Impl::finish_record_search(std::uint64_t id) {
  const auto node = record_searches_.extract(id);  // its timer goes last, after the call
  if (node) node.mapped().done(node.mapped().records);
}

void DhtClient::publish(const std::string& name, proto::Bytes data) {
  impl_->publish(name, data);
}

void DhtClient::find_published(const std::string& name, proto::TimePoint deadline,
                               std::function<void(const std::vector<proto::ByteVector>&)> done) {
  impl_->find_published(name, deadline, std::move(done));
}

}  // namespace connd::daemon
