// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/metrics.h"

#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

TEST_CASE("every count of the DHT's gate is among the metrics") {
  using Counters = proto::DhtGateCounters;
  using Member = std::uint64_t Counters::*;
  constexpr Member kMembers[] = {&Counters::received,   &Counters::received_bytes, &Counters::passed,
                                 &Counters::assembled,  &Counters::parts,          &Counters::pongs,
                                 &Counters::bad_values, &Counters::refused_values, &Counters::names_cut,
                                 &Counters::sent,       &Counters::sent_bytes,     &Counters::pings,
                                 &Counters::held};
  static_assert(sizeof(Counters) == (std::size(kMembers) + proto::kDhtFaults) * sizeof(std::uint64_t));
  DhtStatus dht;
  std::set<std::uint64_t> expected;
  std::uint64_t number = 1'000'000;
  const auto set = [&](std::uint64_t& count) {
    count = number++;
    expected.insert(count);
  };
  for (const Member member : kMembers) set(dht.gate.*member);
  for (std::size_t i = 1; i < dht.gate.dropped.size(); ++i) set(dht.gate.dropped[i]);  // 0: nothing is wrong
  ipc::Json all;
  add_metrics({.dht = &dht}, all);
  for (const auto& [name, value] : all.items()) expected.erase(value.get<std::uint64_t>());
  CHECK(expected.empty());
  CHECK(all.value("dht_names_cut", std::uint64_t{0}) == dht.gate.names_cut);
}

TEST_CASE("a metric is told where its source is, and by whom it is asked") {
  ipc::Json all = ipc::Json::object();
  add_metrics({}, all);
  CHECK(all.empty());
  ManagerTotals connections;
  connections.connections = 3;
  connections.channels_stalled = 4;
  add_metrics({.connections = &connections, .network_changes = 5, .revocations_asked_s = 1.5}, all);
  CHECK(all["connections_made"] == 3);
  CHECK(all["channels_stalled"] == 4);
  CHECK(all["network_changes"] == 5);
  CHECK(all["revocations_asked_s"] == 1.5);
  CHECK_FALSE(all.contains("clients_dropped"));
  CHECK_FALSE(all.contains("dht_lookups"));
  ClientTotals clients;
  clients.events_lost = 6;
  add_metrics({.clients = &clients, .clients_held_back = 7, .loop_longest_turn_us = 8}, all);
  CHECK(all["events_lost"] == 6);
  CHECK(all["clients_held_back"] == 7);
  CHECK(all["loop_longest_turn_us"] == 8);
  CHECK(all["connections_made"] == 3);
}

TEST_CASE("each metric has a name of its own, a text, and a place in ipc/PROTOCOL.md") {
  std::ifstream file(std::string(CONND_PROTO_SOURCES) + "/../ipc/PROTOCOL.md");
  REQUIRE(file.good());
  std::stringstream page;
  page << file.rdbuf();
  const std::string text = page.str();
  std::set<std::string> names;
  for (const Metric& metric : metrics()) {
    INFO(metric.name);
    CHECK(names.insert(metric.name).second);
    CHECK_FALSE(metric.help.empty());
    // Reasons of the gate are listed behind one name.
    const std::string fault = "dht_dropped_";
    const bool listed =
        metric.name.starts_with(fault) && text.find("`" + metric.name.substr(fault.size()) + "`") != std::string::npos;
    CHECK((listed || text.find("`" + metric.name + "`") != std::string::npos));
  }
}
