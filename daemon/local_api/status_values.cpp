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

}  // namespace connd::daemon
