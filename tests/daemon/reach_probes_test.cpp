// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reach_probes.h"

#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

struct ProbesOfClient : PartsOfClient {
  std::vector<std::size_t> back;
  ReachProbes probes{poster, [this](std::size_t key) { back.push_back(key); }};
};

/// As another node brings it.
std::shared_ptr<dht::Value> from_elsewhere(const dht::Value& value) {
  const dht::Blob packed = dht::packMsg(value);
  const auto unpacked = msgpack::unpack(reinterpret_cast<const char*>(packed.data()), packed.size());
  return std::make_shared<dht::Value>(*unpacked);
}

}  // namespace

TEST_CASE("fault E00: a probe counts when another node has brought it, once, at its key") {
  ProbesOfClient at;
  const auto value = at.probes.make(1);
  const auto copy = from_elsewhere(*value);
  at.probes.on_value(copy, 0);
  at.probes.on_value(value_of(dht::Blob(8, 1)), 1);
  at.probes.on_value(value_of(dht::Blob(7, 1)), 1);
  at.turn();
  CHECK(at.back.empty());
  at.probes.on_value(copy, 1);
  at.probes.on_value(copy, 1);
  at.turn();
  CHECK(at.back == std::vector<std::size_t>{1});
}

TEST_CASE("fault E00: our own object proves nothing; it goes out with another id, and has its own back at the next") {
  ProbesOfClient at;
  const auto first = at.probes.make(0);
  const auto id = first->id;
  at.probes.on_value(first, 0);
  CHECK(first->id != id);
  at.turn();
  CHECK(at.back.empty());
  const auto second = at.probes.make(0);
  at.probes.on_value(from_elsewhere(*first), 0);  // the one before does not count
  at.probes.on_value(second, 0);
  CHECK(first->id == id);
  at.turn();
  CHECK(at.back.empty());
  at.probes.forget();
  at.probes.on_value(from_elsewhere(*second), 0);
  at.turn();
  CHECK(at.back.empty());
}
