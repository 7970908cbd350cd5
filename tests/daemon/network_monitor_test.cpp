// SPDX-License-Identifier: GPL-3.0-or-later
// In network namespaces of its own: needs root; else it says that it was not tried.
#include "daemon/system/network_monitor.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/daemon/network_namespace.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

using Addresses = std::vector<std::string>;

bool has(const Addresses& all, const std::string& one) {
  return std::any_of(all.begin(), all.end(), [&](const std::string& a) { return a.find(one) != std::string::npos; });
}

/// What a monitor tells of the namespace in which the test is.
struct Monitored {
  Loop loop;
  std::vector<Addresses> changes;
  int stirred = 0;
  NetworkMonitor monitor{loop,
                         [this](const Addresses& now) {
                           changes.push_back(now);
                           loop.stop();
                         },
                         [this] {
                           ++stirred;
                           loop.stop();
                         }};
};

#define IN_NAMESPACE(name)                                                                                      \
  const Namespace name;                                                                                         \
  if (!name.entered()) {                                                                                        \
    WARN("no network namespace here: not tried");                                                               \
    return;                                                                                                     \
  }                                                                                                             \
  shell(                                                                                                        \
      "ip link set lo up && ip link add wan0 type veth peer name wan1 && ip link set wan0 addrgenmode none && " \
      "ip link set wan1 addrgenmode none")

}  // namespace

TEST_CASE("NetworkMonitor tells which addresses there are, once for changes that come together") {
  IN_NAMESPACE(net);
  Monitored at;
  REQUIRE(at.monitor.watching());
  shell(
      "ip link set wan0 up && ip link set wan1 up && ip addr add 192.0.2.1/24 dev wan0 && ip addr add 192.0.2.7/24 dev "
      "wan0");
  at.loop.run();
  REQUIRE(at.changes.size() == 1);
  CHECK(has(at.changes[0], "192.0.2.1"));
  CHECK(has(at.changes[0], "192.0.2.7"));
  shell("ip addr del 192.0.2.1/24 dev wan0 && ip addr add 198.51.100.1/24 dev wan0");
  at.loop.run();
  REQUIRE(at.changes.size() == 2);
  CHECK_FALSE(has(at.changes[1], "192.0.2.1"));
  CHECK(has(at.changes[1], "198.51.100.1"));
  CHECK(at.stirred == 0);
}

TEST_CASE(
    "fault E00: NetworkMonitor: a default route that comes, or goes, stirs the network; the addresses are the same") {
  IN_NAMESPACE(net);
  shell("ip link set wan0 up && ip link set wan1 up && ip addr add 192.0.2.1/24 dev wan0");
  wait_for_carrier("wan0");
  Monitored at;
  shell("ip route add default dev wan0");
  at.loop.run();
  CHECK(at.stirred == 1);
  shell("ip route del default dev wan0");
  at.loop.run();
  CHECK(at.stirred == 2);
  CHECK(at.changes.empty());
}

TEST_CASE("NetworkMonitor: an address that comes and goes at once is no change") {
  IN_NAMESPACE(net);
  shell("ip link set wan0 up && ip link set wan1 up && ip addr add 192.0.2.1/24 dev wan0");
  wait_for_carrier("wan0");
  Monitored at;
  shell("ip addr add 192.0.2.9/24 dev wan0 && ip addr del 192.0.2.9/24 dev wan0");
  shell("ip route add default dev wan0");  // what is told behind it
  at.loop.run();
  CHECK(at.changes.empty());
  CHECK(at.stirred == 1);
}
