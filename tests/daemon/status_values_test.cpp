// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/status_values.h"

#include <set>

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
  // A new one belongs here, into the metrics, and into ipc/PROTOCOL.md.
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
  ipc::Json metrics;
  add_metrics(dht, metrics);
  for (const auto& [name, value] : metrics.items()) expected.erase(value.get<std::uint64_t>());
  CHECK(expected.empty());
  CHECK(metrics.value("dht_names_cut", std::uint64_t{0}) == dht.gate.names_cut);
}
