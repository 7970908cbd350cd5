// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/status_values.h"

#include <algorithm>

#include "daemon/settings/options.h"

namespace connd::daemon {

ipc::DhtState api_state(DhtState state) {
  switch (state) {
    case DhtState::kDisconnected:
      return ipc::DhtState::kDisconnected;
    case DhtState::kConnecting:
      return ipc::DhtState::kConnecting;
    case DhtState::kConnected:
      break;
  }
  return ipc::DhtState::kConnected;
}

ipc::Reachable api_reach(Reach reach) {
  switch (reach) {
    case Reach::kYes:
      return ipc::Reachable::kYes;
    case Reach::kNo:
      return ipc::Reachable::kNo;
    case Reach::kUnknown:
      break;
  }
  return ipc::Reachable::kUnknown;
}

ipc::IceRequestPolicy api_policy(IceRequestPolicy policy) {
  switch (policy) {
    case IceRequestPolicy::kTrusted:
      return ipc::IceRequestPolicy::kTrusted;
    case IceRequestPolicy::kAnyone:
      return ipc::IceRequestPolicy::kAnyone;
    case IceRequestPolicy::kAsk:
      break;
  }
  return ipc::IceRequestPolicy::kAsk;
}

std::vector<std::string> texts(const std::vector<HostPort>& places) {
  std::vector<std::string> out;
  for (const HostPort& place : places) out.push_back(place.text());
  return out;
}

void add_limits(const Config& config, ipc::Json& limits) {
  for (const OptionSpec& option : options()) {
    std::string name(option.name);
    std::replace(name.begin(), name.end(), '-', '_');
    if (const auto* number = std::get_if<std::uint64_t Config::*>(&option.field)) {
      limits[name] = config.**number << (option.value == "MIB" ? 20 : option.value == "KIB" ? 10 : 0);
    } else if (const auto* time = std::get_if<std::chrono::seconds Config::*>(&option.field)) {
      limits[name + "_s"] = (config.**time).count();
    }
  }
  limits.erase("dht_port");  // no limit: `dht` tells it
  limits.erase("port");      // as does `port` of this one
}

void add_metrics(const ManagerTotals& totals, ipc::Json& metrics) {
  metrics["connections_made"] = totals.connections;
  metrics["connections_failed"] = totals.connections_failed;
  metrics["connections_timed_out"] = totals.connections_timed_out;
  metrics["requests_refused"] = totals.requests_refused;
  metrics["opens_redialled"] = totals.opens_redialled;
  metrics["channels_reset"] = totals.channels_reset;
  metrics["channels_stalled"] = totals.channels_stalled;
  metrics["bytes_in"] = totals.bytes_in;
  metrics["bytes_out"] = totals.bytes_out;
  metrics["tls_records_in"] = totals.tls_records_in;
  metrics["tls_records_out"] = totals.tls_records_out;
}

void add_metrics(const DhtStatus& dht, ipc::Json& metrics) {
  metrics["dht_lookups"] = dht.lookups;
  metrics["dht_requests_received"] = dht.requests_received;
  metrics["dht_requests_ignored"] = dht.requests_ignored;
  metrics["dht_requests_dropped"] = dht.requests_dropped;
  const proto::DhtGateCounters& gate = dht.gate;
  metrics["dht_received"] = gate.received;
  metrics["dht_received_bytes"] = gate.received_bytes;
  metrics["dht_passed"] = gate.passed;
  metrics["dht_parts"] = gate.parts;
  metrics["dht_assembled"] = gate.assembled;
  metrics["dht_sent"] = gate.sent;
  metrics["dht_sent_bytes"] = gate.sent_bytes;
  metrics["dht_held"] = gate.held;
  metrics["dht_pings"] = gate.pings;
  metrics["dht_pongs"] = gate.pongs;
  for (std::size_t i = 1; i < gate.dropped.size(); ++i) {  // 0: nothing is wrong
    std::string name = "dht_dropped_" + std::string(proto::fault_name(static_cast<proto::DhtFault>(i)));
    std::replace(name.begin(), name.end(), '-', '_');
    metrics[name] = gate.dropped[i];
  }
  metrics["dht_dropped_values"] = gate.bad_values;
  metrics["dht_refused_values"] = gate.refused_values;
  metrics["dht_names_cut"] = gate.names_cut;
  metrics["lan_received"] = dht.lan.received;
  metrics["lan_nodes"] = dht.lan.nodes;
  metrics["lan_dropped"] = dht.lan.dropped;
}

}  // namespace connd::daemon
