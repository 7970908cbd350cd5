// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_node.h"

#include <atomic>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {
namespace {

/// Of one answer to `ask`; a flood of junk comes by the listen as well, and is bounded there.
constexpr unsigned kMaxValuesAsked = 256;

/// All that is put where we listen has this type, but OpenDHT does not know that: asking without it is another
/// question, which it does not answer from the listen's memory.
dht::Where listened() {
  return dht::Where().valueType(dht::ValueType::USER_DATA.id);
}

/// The smallest question about a value: what counts is that it makes OpenDHT look for nodes.
dht::Query only_id(dht::Value::Id id) {
  return {dht::Select().field(dht::Value::Field::Id), dht::Where().id(id)};
}
const dht::QueryCallback kIgnored = [](const std::vector<std::shared_ptr<dht::FieldValueIndex>>&) { return true; };

}  // namespace

void DhtNode::keep(const DhtKept& kept) {
  if (kept.heard) {
    listens_[kept.key] = runner.listen(kept.key, dht::ValueCallback(kept.heard), {}, listened()).share();
  }
  if (kept.put) runner.put(kept.key, kept.put, dht::DoneCallback{}, dht::time_point::max(), true);
}

void DhtNode::stop_listening(const dht::InfoHash& key) {
  const auto listen = listens_.extract(key);
  if (listen) runner.cancelListen(key, std::move(listen.mapped()));
}

void DhtNode::wake(const DhtKept& kept) {
  if (!kept.heard) return;
  runner.get(kept.key, dht::GetCallback([](const DhtValues&) { return true; }), dht::DoneCallback{}, {}, listened());
}

void DhtNode::ask(const DhtKept& kept) {
  if (!kept.heard) return;
  auto seen = std::make_shared<std::atomic<unsigned>>(0);  // shared by the copies OpenDHT makes of the callback
  runner.get(kept.key, dht::GetCallback([heard = kept.heard, seen](const DhtValues& values) {
               if (seen->fetch_add(static_cast<unsigned>(values.size())) >= kMaxValuesAsked) return false;
               // A test is about the listen: what was looked for has not come by it.
               DhtValues others = values;
               std::erase_if(others, [](const auto& value) { return value->user_type == kProbeType; });
               return heard(others, false);
             }),
             dht::DoneCallback{});
}

void DhtNode::check(const DhtKept& kept) {
  if (!kept.put) return;
  runner.query(kept.key, kIgnored, dht::DoneCallback{}, only_id(kept.put->id));
}

void DhtNode::send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, dht::DoneCallback done) {
  runner.query(key, kIgnored, dht::DoneCallback{}, only_id(value->id));
  runner.put(key, std::move(value), std::move(done));
}

void DhtNode::send_home(const dht::InfoHash& key, std::shared_ptr<dht::Value> value) {
  runner.put(key, std::move(value));
}

void DhtNode::greet(std::vector<dht::SockAddr> nodes) {
  // It calls what it is given, whether that is something or not.
  if (!nodes.empty()) runner.bootstrap(std::move(nodes), [](bool) {});
}

}  // namespace connd::daemon
