// SPDX-License-Identifier: GPL-3.0-or-later
// What the local API shows of the daemon.
#include <algorithm>
#include <chrono>

#include <spdlog/fmt/ranges.h>

#include "daemon/local_api/status_values.h"
#include "daemon/service/daemon_network.h"

namespace connd::daemon {

std::optional<ipc::IdentityResult> Daemon::identity() const {
  if (!identity_) return std::nullopt;
  const proto::CertificateChain& chain = identity_->identity.chain;
  ipc::IdentityResult out;
  out.device = chain.device_id().hex();
  out.short_device = chain.short_device_id().hex();
  out.account = chain.account_id().hex();
  out.ca = chain.ca_id().hex();
  out.account_key = identity_->has_account_key;
  out.chain = identity_->chain_pem;
  return out;
}

ipc::DaemonState Daemon::state() const {
  if (stopping_) return ipc::DaemonState::kStopping;
  return network_ && !restarting_ ? ipc::DaemonState::kReady : ipc::DaemonState::kStarting;
}

ipc::DhtState Daemon::network() const {
  return network_ ? api_state(network_->dht->status().state) : ipc::DhtState::kDisconnected;
}

ipc::Reachable Daemon::reachable() const {
  return network_ ? api_reach(network_->dht->status().reach) : ipc::Reachable::kUnknown;
}

void Daemon::describe_reach(const DhtStatus& dht, ipc::DaemonStatus& status) const {
  const auto seconds_since = [this](proto::TimePoint when) {
    return std::max(0.0, std::chrono::duration<double>(loop_.now() - when).count());
  };
  status.dht.reachable = api_reach(dht.reach);
  status.dht.reachable_for_s = seconds_since(dht.reach_since);
  if (dht.last_reached) status.dht.last_reached_s = seconds_since(*dht.last_reached);
  status.metrics["dht_self_tests"] = dht.self_tests;
  status.metrics["dht_nodes_renewed"] = dht.node_renewals;
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

void Daemon::describe(ipc::DaemonStatus& status) const {
  status.version = CONND_VERSION;
  status.uptime_s = std::chrono::duration<double>(loop_.now() - started_).count();
  status.ice_request = api_policy(config_.ice_request);
  status.dht.bootstrap = texts(config_.bootstrap);
  status.dht.lan_discovery = !config_.no_lan_discovery;
  add_limits(config_, status.limits);
  status.limits["open_files"] = fds_.soft;
  status.limits["max_channels"] = fds_.max_channels;
  status.limits["max_pending_opens"] = manager_settings().limits.max_pending_opens;
  status.metrics["network_changes"] = network_changes_;
  if (loop_.now() < join_at_) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(join_at_ - loop_.now());
    status.problems.push_back(fmt::format("{}: it joins the network in {} s", pause_reason_, left.count()));
  }
  if (!problem_.empty()) status.problems.push_back(problem_);
  if (auto problem = own_certificate_problem()) status.problems.push_back(*std::move(problem));
  if (!state_watch_.problem().empty()) status.problems.push_back(state_watch_.problem());
  if (!reload_problem_.empty()) status.problems.push_back(reload_problem_);
  if (!monitor_.watching()) status.problems.emplace_back("the kernel does not tell of network changes");
  if (!network_) return;
  const DhtStatus& dht = network_->dht->status();
  status.port = network_->door->port();
  for (const proto::IpEndpoint& mapped : network_->probe->mapped()) status.public_addresses.push_back(text_of(mapped));
  const FrontDoor::Counters& door = network_->door->counters();
  status.metrics["door_strangers"] = door.strangers;
  status.metrics["door_closed"] = door.closed;
  status.metrics["door_answered"] = door.answered;
  status.metrics["door_guests"] = door.guests;
  status.dht.state = api_state(dht.state);
  status.dht.port = dht.port4 != 0 ? dht.port4 : dht.port6;
  status.dht.nodes = dht.nodes4.good + dht.nodes6.good;
  describe_reach(dht, status);
  add_metrics(network_->manager->totals(), status.metrics);
  if (const auto asked = network_->manager->revocations_as_of()) {
    status.metrics["revocations_asked_s"] = std::chrono::duration<double>(loop_.now() - *asked).count();
  }
  for (const proto::AccountId& account : network_->manager->too_many_revocations()) {
    status.problems.push_back(
        fmt::format("the revocation list of account {} is too long for the DHT (more than {} bytes): whoever is to "
                    "know it takes it by hand, with 'jami-connctl crl add'",
                    account.hex(), RevocationSync::kMaxListBytes));
  }
  if (const auto seen = network_->manager->clone_seen()) {
    status.problems.push_back(
        fmt::format("another daemon runs with this device's identity (last heard of {:.0f} s ago): peers reach the one "
                    "or the other; "
                    "stop one of them, and give it a state directory of its own",
                    std::chrono::duration<double>(loop_.now() - *seen).count()));
  }
  for (const auto& host : dht.unresolved) status.problems.push_back("the bootstrap node '" + host + "' has no address");
  add_metrics(dht, status.metrics);
}

}  // namespace connd::daemon
