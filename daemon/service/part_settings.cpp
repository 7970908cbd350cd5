// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/part_settings.h"

#include <algorithm>

#include "daemon/local_api/status_values.h"

namespace connd::daemon {

DhtConfig dht_settings(const Config& config, const std::string& state_dir, const LoadedIdentity& identity) {
  DhtConfig dht;
  dht.device_key_pem = std::string(identity.device_key_pem.view());
  dht.announcement = identity.signed_by_account;
  dht.certificate_chain_pem = identity.chain_pem;
  dht.port = static_cast<std::uint16_t>(config.dht_port);
  dht.bootstrap = texts(config.bootstrap);
  dht.lan_discovery = !config.no_lan_discovery;
  if (const std::string file = known_nodes_file(dht.bootstrap); !file.empty()) dht.state_file = state_dir + "/" + file;
  dht.max_requests_per_second = static_cast<int>(config.dht_max_requests);
  dht.max_peer_requests_per_second = static_cast<int>(config.dht_max_peer_requests);
  dht.max_searches = static_cast<int>(config.dht_max_searches);
  dht.max_store_bytes = static_cast<int>(config.dht_max_store << 20);
  dht.max_store_keys = static_cast<int>(config.dht_max_store_keys);
  dht.max_value_bytes = config.dht_max_value << 10;
  dht.keep_nothing = config.dht_keep_nothing;
  return dht;
}

ManagerSettings manager_settings(const Config& config, const FdLimits& fds) {
  ManagerSettings settings;
  settings.limits.max_connections = config.max_connections;
  settings.limits.max_setups = config.max_setups;
  settings.limits.max_unknown_setups = config.max_unknown_setups;
  settings.limits.idle_time = config.idle_timeout;
  settings.limits.max_channels = fds.max_channels;
  settings.limits.max_channels_per_peer = config.max_channels_per_peer;
  settings.mux.max_channels =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(fds.max_channels, proto::kMaxChannels));
  settings.mux.max_buffer = config.max_connection_buffer << 20;
  settings.mux.keepalive_interval = config.keepalive;
  settings.ice.interfaces = config.interfaces;
  settings.gate.policy = config.ice_request;
  settings.gate.max_lookups = config.max_unknown_lookups;
  settings.gate.lookups_per_minute = static_cast<unsigned>(config.unknown_lookups_per_minute);
  settings.gate.ask_time = config.policy_timeout;
  return settings;
}

IpcSettings ipc_settings(const Config& config, const FdLimits& fds) {
  IpcSettings ipc;
  ipc.places.percent = config.max_user_share;
  ipc.max_channels = fds.max_channels;
  ipc.max_connections = config.max_connections;
  ipc.max_clients = config.max_clients;
  ipc.max_channels_per_client = config.max_channels_per_client;
  ipc.max_uncollected_fds = config.max_uncollected_fds;
  ipc.ask_time = config.accept_timeout;
  ipc.open_time = config.open_timeout;
  ipc.reservations = config.reservations;
  return ipc;
}

}  // namespace connd::daemon
