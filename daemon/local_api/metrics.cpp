// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/metrics.h"

#include <algorithm>
#include <utility>

namespace connd::daemon {
namespace {

using ipc::Json;
using Get = std::function<Json(const MetricSources&)>;

template <class Base, class T>
Get count_of(const Base* MetricSources::*source, T Base::*member) {
  return [source, member](const MetricSources& from) {
    return from.*source == nullptr ? Json() : Json((from.*source)->*member);
  };
}
template <class Base>
Get of_connections(std::uint64_t Base::*member) {
  return [member](const MetricSources& from) {
    return from.connections == nullptr ? Json() : Json(from.connections->*member);
  };
}
Get of_dht(std::uint64_t DhtStatus::*member) {
  return count_of(&MetricSources::dht, member);
}
Get of_clients(std::uint64_t ClientTotals::*member) {
  return count_of(&MetricSources::clients, member);
}
Get of_door(std::uint64_t FrontDoor::Counters::*member) {
  return count_of(&MetricSources::door, member);
}
Get of_gate(std::uint64_t proto::DhtGateCounters::*member) {
  return [member](const MetricSources& from) { return from.dht == nullptr ? Json() : Json(from.dht->gate.*member); };
}
Get of_lan(std::uint64_t LanDiscoveryCounters::*member) {
  return [member](const MetricSources& from) { return from.dht == nullptr ? Json() : Json(from.dht->lan.*member); };
}
template <class T>
Get of_own(std::optional<T> MetricSources::*member) {
  return [member](const MetricSources& from) { return from.*member ? Json(*(from.*member)) : Json(); };
}

/// One a reason for which the gate drops a datagram.
void add_faults(std::vector<Metric>& table) {
  for (std::size_t i = 1; i < proto::kDhtFaults; ++i) {  // 0: nothing is wrong
    const std::string reason(proto::fault_name(static_cast<proto::DhtFault>(i)));
    std::string name = "dht_dropped_" + reason;
    std::replace(name.begin(), name.end(), '-', '_');
    table.push_back(
        {std::move(name), Metric::Kind::kCounter, "datagrams of the DHT that were dropped: " + reason,
         [i](const MetricSources& from) { return from.dht == nullptr ? Json() : Json(from.dht->gate.dropped[i]); }});
  }
}

std::vector<Metric> make_table() {
  using Gate = proto::DhtGateCounters;
  using Lan = LanDiscoveryCounters;
  constexpr auto kCounter = Metric::Kind::kCounter;
  constexpr auto kGauge = Metric::Kind::kGauge;
  std::vector<Metric> table{
      {"connections_made", kCounter, "attempts that became connections", of_connections(&ManagerTotals::connections)},
      {"connections_failed", kCounter, "attempts that did not become connections",
       of_connections(&ManagerTotals::connections_failed)},
      {"connections_timed_out", kCounter, "connections whose peer answered no keepalive",
       of_connections(&ManagerTotals::connections_timed_out)},
      {"requests_refused", kCounter, "peers' requests for connections that were refused",
       of_connections(&ManagerTotals::requests_refused)},
      {"opens_redialled", kCounter, "opens whose connection died under them, so that another one was made",
       of_connections(&ManagerTotals::opens_redialled)},
      {"channels_reset", kCounter, "channels that were reset", of_connections(&ManagerTotals::channels_reset)},
      {"channels_stalled", kCounter, "channels that ended for their reader stood still",
       of_connections(&ManagerTotals::channels_stalled)},
      {"bytes_in", kCounter, "bytes that all connections received", of_connections(&ManagerTotals::bytes_in)},
      {"bytes_out", kCounter, "bytes that all connections sent", of_connections(&ManagerTotals::bytes_out)},
      {"tls_records_in", kCounter, "records of application data received",
       of_connections(&ManagerTotals::tls_records_in)},
      {"tls_records_out", kCounter, "records of application data sent",
       of_connections(&ManagerTotals::tls_records_out)},
      {"revocations_asked_s", kGauge,
       "seconds since the DHT was asked, and answered, about the revocations of the account for which that was done "
       "least lately",
       of_own(&MetricSources::revocations_asked_s)},

      {"clients_dropped", kCounter, "clients that did not read", of_clients(&ClientTotals::clients_dropped)},
      {"events_lost", kCounter, "events that subscribers missed", of_clients(&ClientTotals::events_lost)},
      {"limits_hit", kCounter, "answers resource-limit, and peers' channels that were refused with busy",
       of_clients(&ClientTotals::limits_hit)},
      {"clients_held_back", kCounter,
       "times that a user's clients waited because the user had had its share of the daemon's time",
       of_own(&MetricSources::clients_held_back)},
      {"loop_longest_turn_us", kGauge,
       "microseconds, the longest that the daemon's one thread was busy at a stretch in the last minute or two",
       of_own(&MetricSources::loop_longest_turn_us)},
      {"network_changes", kCounter, "changes of this machine's addresses", of_own(&MetricSources::network_changes)},

      {"door_strangers", kCounter, "connections that came to the daemon's TCP port",
       of_door(&FrontDoor::Counters::strangers)},
      {"door_guests", kCounter, "of these, those of attempts", of_door(&FrontDoor::Counters::guests)},
      {"door_answered", kCounter, "of these, those that asked for their address",
       of_door(&FrontDoor::Counters::answered)},
      {"door_closed", kCounter, "of these, those that said something else, or nothing in time",
       of_door(&FrontDoor::Counters::closed)},

      {"dht_self_tests", kCounter, "tests of reachability that were begun", of_dht(&DhtStatus::self_tests)},
      {"dht_nodes_renewed", kCounter, "nodes of the DHT that were made anew because they were deaf",
       of_dht(&DhtStatus::node_renewals)},
      {"dht_lookups", kCounter, "certificates that were looked for on the DHT", of_dht(&DhtStatus::lookups)},
      {"dht_requests_received", kCounter, "connection requests and answers on the DHT",
       of_dht(&DhtStatus::requests_received)},
      {"dht_requests_ignored", kCounter, "requests that were not meant for this device, or malformed",
       of_dht(&DhtStatus::requests_ignored)},
      {"dht_requests_dropped", kCounter, "requests beyond what is taken", of_dht(&DhtStatus::requests_dropped)},

      {"dht_received", kCounter, "datagrams that came to the DHT's port", of_gate(&Gate::received)},
      {"dht_received_bytes", kCounter, "bytes of these", of_gate(&Gate::received_bytes)},
      {"dht_passed", kCounter, "datagrams that were given to OpenDHT as they were", of_gate(&Gate::passed)},
      {"dht_parts", kCounter, "parts of values that were kept", of_gate(&Gate::parts)},
      {"dht_assembled", kCounter, "messages that were put together from parts", of_gate(&Gate::assembled)},
      {"dht_sent", kCounter, "datagrams that OpenDHT sent", of_gate(&Gate::sent)},
      {"dht_sent_bytes", kCounter, "bytes of these", of_gate(&Gate::sent_bytes)},
      {"dht_held", kCounter, "datagrams that waited until their address had proved itself", of_gate(&Gate::held)},
      {"dht_pings", kCounter, "our pings to addresses that had to prove themselves", of_gate(&Gate::pings)},
      {"dht_pongs", kCounter, "their answers", of_gate(&Gate::pongs)},
      {"dht_dropped_values", kCounter, "values that were taken out of messages that passed",
       of_gate(&Gate::bad_values)},
      {"dht_refused_values", kCounter, "values that others put at this node, and that it does not keep",
       of_gate(&Gate::refused_values)},
      {"dht_names_cut", kCounter, "nodes that were taken out of answers that passed, for they did not answer a ping",
       of_gate(&Gate::names_cut)},

      {"lan_received", kCounter, "datagrams of the LAN's discovery", of_lan(&Lan::received)},
      {"lan_nodes", kCounter, "nodes that were found by it", of_lan(&Lan::nodes)},
      {"lan_dropped", kCounter, "datagrams of it that were malformed, from elsewhere, or beyond a rate",
       of_lan(&Lan::dropped)},
  };
  add_faults(table);
  return table;
}

}  // namespace

const std::vector<Metric>& metrics() {
  static const std::vector<Metric> table = make_table();
  return table;
}

void add_metrics(const MetricSources& sources, Json& out) {
  for (const Metric& metric : metrics()) {
    if (Json value = metric.get(sources); !value.is_null()) out[metric.name] = std::move(value);
  }
}

}  // namespace connd::daemon
