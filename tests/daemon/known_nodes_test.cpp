// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/known_nodes.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "daemon/dht/dht_setup.h"
#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

std::vector<dht::NodeExport> nodes_from(unsigned first, unsigned number) {
  std::vector<dht::NodeExport> out;
  for (unsigned i = first; i < first + number; ++i) {
    dht::NodeExport& node = out.emplace_back();
    node.id = dht::InfoHash::get(std::to_string(i));
    auto& address = reinterpret_cast<sockaddr_in&>(node.ss);
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(1'000 + i));
    address.sin_addr.s_addr = htonl(0x7f000001);
    node.sslen = sizeof address;
  }
  return out;
}

}  // namespace

TEST_CASE("KnownNodes: the new ones in front, the former behind them, none twice, no more than are saved") {
  KnownNodes known(nodes_from(0, 10));
  known.take(nodes_from(5, 10));
  REQUIRE(known.all().size() == 15);
  CHECK(known.all()[0].id == nodes_from(5, 1)[0].id);
  CHECK(known.all()[10].id == nodes_from(0, 1)[0].id);
  known.take({});  // in an outage none is good: those that were are what one goes back to
  CHECK(known.all().size() == 15);
  known.take(nodes_from(100, kMaxSavedNodes - 5));
  CHECK(known.all().size() == kMaxSavedNodes);
  CHECK(known.all().back().id == nodes_from(9, 1)[0].id);
  known.take(nodes_from(1'000, kMaxSavedNodes + 20));
  CHECK(known.all().size() == kMaxSavedNodes);
}

TEST_CASE("KnownNodes: some of them are of the whole list") {
  CHECK(KnownNodes({}).some().empty());
  CHECK(KnownNodes(nodes_from(0, 3)).some().size() == 3);
  const KnownNodes many(nodes_from(0, 160));
  const auto some = many.some();
  REQUIRE(some.size() == KnownNodes::kMaxSome);
  CHECK(some.front().getPort() == 1'000);
  CHECK(some.back().getPort() == 1'150);
}

TEST_CASE("KnownNodes are looked at once in a while") {
  KnownNodes known({});
  const proto::TimePoint now{proto::Duration(5)};  // a machine that has just started
  CHECK(known.due(now));
  CHECK_FALSE(known.due(now + KnownNodes::kInterval - proto::Duration(1)));
  CHECK(known.due(now + KnownNodes::kInterval));
}
