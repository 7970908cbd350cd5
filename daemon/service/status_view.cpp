// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/status_view.h"

#include <algorithm>
#include <chrono>

#include <spdlog/fmt/ranges.h>

#include "daemon/local_api/metrics.h"
#include "daemon/local_api/status_values.h"
#include "daemon/service/part_settings.h"

namespace connd::daemon {

std::optional<ipc::IdentityResult> StatusView::identity() const {
  const LoadedIdentity* own = parts_.identity.get();
  if (own == nullptr) return std::nullopt;
  const proto::CertificateChain& chain = own->identity.chain;
  ipc::IdentityResult out;
  out.device = chain.device_id().hex();
  out.short_device = chain.short_device_id().hex();
  out.account = chain.account_id().hex();
  out.ca = chain.ca_id().hex();
  out.account_key = own->has_account_key;
  out.chain = own->chain_pem;
  return out;
}

ipc::DaemonState StatusView::state() const {
  if (parts_.end.begun()) return ipc::DaemonState::kStopping;
  return parts_.network.ready() ? ipc::DaemonState::kReady : ipc::DaemonState::kStarting;
}

ipc::DhtState StatusView::network() const {
  const DhtStatus* dht = parts_.network.dht();
  return dht != nullptr ? api_state(dht->state) : ipc::DhtState::kDisconnected;
}

ipc::Reachable StatusView::reachable() const {
  const DhtStatus* dht = parts_.network.dht();
  return dht != nullptr ? api_reach(dht->reach) : ipc::Reachable::kUnknown;
}

double StatusView::seconds_since(proto::TimePoint when) const {
  return std::max(0.0, std::chrono::duration<double>(parts_.loop.now() - when).count());
}

void StatusView::describe_reach(const DhtStatus& dht, ipc::DaemonStatus& status) const {
  status.dht.reachable = api_reach(dht.reach);
  status.dht.reachable_for_s = seconds_since(dht.reach_since);
  if (dht.last_reached) status.dht.last_reached_s = seconds_since(*dht.last_reached);
  // To look for the first node takes a moment, which is no problem yet.
  const bool begins = dht.reach == Reach::kUnknown && seconds_since(dht.reach_since) < 5;
  if (dht.state != DhtState::kConnected) {
    if (begins) return;
    status.problems.emplace_back(
        "no node of the DHT answers: peers cannot reach this device, and it finds none that it is not connected with");
  } else if (dht.reach == Reach::kNo) {
    status.problems.push_back(
        fmt::format("peers cannot reach this device: for {:.0f} s nothing that is sent to it by the DHT has arrived",
                    dht.last_reached ? seconds_since(*dht.last_reached) : seconds_since(dht.reach_since)));
  }
}

void StatusView::describe_problems(ipc::DaemonStatus& status) const {
  for (auto& problem : parts_.network.problems()) status.problems.push_back(std::move(problem));
  if (!parts_.identity.problem().empty()) status.problems.push_back(parts_.identity.problem());
  if (auto problem = parts_.identity.certificate_problem()) status.problems.push_back(*std::move(problem));
  if (!parts_.state.problem().empty()) status.problems.push_back(parts_.state.problem());
  if (!parts_.reloader.problem().empty()) status.problems.push_back(parts_.reloader.problem());
  if (!parts_.monitor.watching()) status.problems.emplace_back("the kernel does not tell of network changes");
}

void StatusView::describe_connections(const ConnectionManager& manager, ipc::DaemonStatus& status) const {
  for (const proto::AccountId& account : manager.too_many_revocations()) {
    status.problems.push_back(
        fmt::format("the revocation list of account {} is too long for the DHT (more than {} bytes): whoever is to "
                    "know it takes it by hand, with 'jami-connctl crl add'",
                    account.hex(), RevocationSync::kMaxListBytes));
  }
  if (const auto seen = manager.clone_seen()) {
    status.problems.push_back(
        fmt::format("another daemon runs with this device's identity (last heard of {:.0f} s ago): peers reach the one "
                    "or the other; "
                    "stop one of them, and give it a state directory of its own",
                    std::chrono::duration<double>(parts_.loop.now() - *seen).count()));
  }
}

void StatusView::describe_door(const Doors& doors, ipc::DaemonStatus& status) {
  status.port = doors.door.port();
  for (const proto::IpEndpoint& mapped : doors.probe.mapped()) status.public_addresses.push_back(text_of(mapped));
}

void StatusView::describe_dht(const DhtStatus& dht, ipc::DaemonStatus& status) const {
  status.dht.state = api_state(dht.state);
  status.dht.port = dht.port4 != 0 ? dht.port4 : dht.port6;
  status.dht.nodes = dht.nodes4.good + dht.nodes6.good;
  describe_reach(dht, status);
}

void StatusView::describe_metrics(ipc::Json& metrics) const {
  MetricSources sources;
  sources.network_changes = parts_.network.changes();
  sources.dht = parts_.network.dht();
  if (const Doors* doors = parts_.network.doors()) sources.door = &doors->door.counters();
  std::optional<ManagerTotals> totals;
  if (const ConnectionManager* manager = parts_.network.manager()) {
    sources.connections = &totals.emplace(manager->totals());
    if (const auto asked = manager->revocations_as_of()) {
      sources.revocations_asked_s = std::chrono::duration<double>(parts_.loop.now() - *asked).count();
    }
  }
  add_metrics(sources, metrics);
}

void StatusView::describe(ipc::DaemonStatus& status) const {
  status.version = CONND_VERSION;
  status.uptime_s = std::chrono::duration<double>(parts_.loop.now() - started_).count();
  status.ice_request = api_policy(parts_.config.ice_request);
  status.dht.bootstrap = texts(parts_.config.bootstrap);
  status.dht.lan_discovery = !parts_.config.no_lan_discovery;
  add_limits(parts_.config, status.limits);
  status.limits["open_files"] = parts_.fds.soft;
  status.limits["max_channels"] = parts_.fds.max_channels;
  status.limits["max_pending_opens"] = manager_settings(parts_.config, parts_.fds).limits.max_pending_opens;
  describe_metrics(status.metrics);
  describe_problems(status);
  const DhtStatus* dht = parts_.network.dht();
  if (dht == nullptr) return;
  describe_dht(*dht, status);
  describe_door(*parts_.network.doors(), status);
  describe_connections(*parts_.network.manager(), status);
  for (const auto& host : dht->unresolved) {
    status.problems.push_back("the bootstrap node '" + host + "' has no address");
  }
}

}  // namespace connd::daemon
