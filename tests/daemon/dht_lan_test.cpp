// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtClient on a LAN of network namespaces, and the times of its steps.
#include <algorithm>
#include <cstdio>

#include "tests/daemon/dht_peers.h"
#include "tests/daemon/network_namespace.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

DhtConfig lan_config(const Device& who) {
  DhtConfig config = config_of(who, {});
  config.bind4.clear();
  config.bind6.clear();
  config.lan_discovery = true;
  return config;
}

}  // namespace

TEST_CASE("A14: on a LAN two clients find each other by multicast alone and exchange requests") {
  Loop loop;
  std::optional<Peer> alice;
  std::optional<Peer> bob;
  {
    const Namespace alices;
    if (!alices.entered()) {
      WARN("skipped: network namespaces need root");
      return;
    }
    {
      const Namespace bobs;
      shell("ip link add name lan1 type veth peer name lan0 && ip link set lan0 netns " + alices.path());
      plug_in("lan1", "192.168.77.2");
      bob.emplace(loop, lan_config(device(1)));
    }
    plug_in("lan0", "192.168.77.1");
    wait_for_carrier("lan0");
    alice.emplace(loop, lan_config(device(0)));
  }
  REQUIRE(run_until(loop, [&] { return alice->connected() && bob->connected(); }));
  CHECK(published(loop, *alice, device(1)));
  CHECK(published(loop, *bob, device(0)));
  CHECK(alice->send(device(1).public_key, kBody, SignalKeys::kBoth));
  REQUIRE(run_until(loop, [&] { return bob->requests.size() == 2; }));
  CHECK(bob->send(device(0).public_key, kBody, SignalKeys::kBoth));
  REQUIRE(run_until(loop, [&] { return alice->requests.size() == 2; }));
}

namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

TEST_CASE("A14: LAN discovery is that of OpenDHT's own nodes, whichever comes first") {
  Loop loop;
  std::optional<Peer> ours;
  std::unique_ptr<Stranger> theirs;
  const bool we_are_first = GENERATE(true, false);
  const Namespace here;
  if (!here.entered()) {
    WARN("skipped: network namespaces need root");
    return;
  }
  const auto start_ours = [&] { ours.emplace(loop, lan_config(device(0))); };
  const auto start_theirs = [&] {
    const Namespace there;
    shell("ip link add name lan1 type veth peer name lan0 && ip link set lan0 netns " + here.path());
    plug_in("lan1", "192.168.78.2");
    theirs = std::make_unique<Stranger>(dht::crypto::Identity{}, "0.0.0.0", true);
  };
  if (we_are_first) {
    start_ours();  // the network comes later, and with it network_changed
    start_theirs();
    plug_in("lan0", "192.168.78.1");
    ours->client->network_changed();
  } else {
    start_theirs();
    plug_in("lan0", "192.168.78.1");
    wait_for_carrier("lan0");
    start_ours();
  }
  REQUIRE(run_until(loop, [&] { return ours->connected(); }));
  CHECK(theirs->runner.getNodesStats(AF_INET).good_nodes + theirs->runner.getNodesStats(AF_INET).dubious_nodes == 1);
}

// Not a test: `dht_test [measure]` prints how long each step of a first open takes on the DHT.
TEST_CASE("DhtClient: times of the steps of a first open", "[.][measure]") {
  constexpr int kRounds = 20;
  Loop loop;
  const auto ms_since = [](std::uint64_t start) { return static_cast<double>(uv_hrtime() - start) / 1e6; };
  std::vector<double> connect_ms, find_ms, request_ms, stored_ms, answer_ms;
  for (int i = 0; i < kRounds; ++i) {
    Stranger storage;  // a new one: it keeps the requests of former rounds
    const auto start = uv_hrtime();
    Peer alice(loop, config_of(device(0), {storage.address()}));
    Peer bob(loop, config_of(device(1), {storage.address()}));
    REQUIRE(run_until(loop, [&] { return alice.connected() && bob.connected(); }));
    connect_ms.push_back(ms_since(start));
    bool settled = false;
    Timer settle(loop, [&] { settled = true; });
    settle.arm_in(seconds(i < 5 ? 10 : 2));
    run_until(loop, [&] { return settled; });

    const auto find_start = uv_hrtime();
    REQUIRE(alice.find(device(1)));
    find_ms.push_back(ms_since(find_start));
    const auto request_start = uv_hrtime();
    bool stored = false;
    alice.client->send_request(device(1).public_key, kBody, SignalKeys::kBoth, [&](bool) {
      stored = true;
      stored_ms.push_back(ms_since(request_start));
    });
    REQUIRE(run_until(loop, [&] { return !bob.requests.empty(); }));
    request_ms.push_back(ms_since(request_start));
    const auto answer_start = uv_hrtime();
    bob.client->send_request(bob.requests[0].signer_public_key, kBody,
                             bob.requests[0].at_short_key ? SignalKeys::kShort : SignalKeys::kLong, [](bool) {});
    REQUIRE(run_until(loop, [&] { return !alice.requests.empty() && stored; }));
    answer_ms.push_back(ms_since(answer_start));
  }
  std::printf("medians of %d, ms: connected %.1f, find %.1f, request %.1f (stored %.1f), answer %.1f\n", kRounds,
              median(connect_ms), median(find_ms), median(request_ms), median(stored_ms), median(answer_ms));
  for (std::size_t i = 0; i < find_ms.size(); ++i) {
    std::printf("  connected %.1f find %.1f request %.1f stored %.1f answer %.1f\n", connect_ms[i], find_ms[i],
                request_ms[i], stored_ms[i], answer_ms[i]);
  }
}
