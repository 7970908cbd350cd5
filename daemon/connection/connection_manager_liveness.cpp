// SPDX-License-Identifier: GPL-3.0-or-later
// Reasons to doubt that a connection is alive, beside silence: addresses change, the machine slept, the peer calls
// anew.
#include <algorithm>
#include <ctime>

#include <spdlog/spdlog.h>

#include "daemon/connection/connection_manager.h"
#include "daemon/system/host_port.h"

namespace connd::daemon {
namespace {

constexpr proto::Duration kTick = std::chrono::milliseconds(200);
/// When a tick is this late the machine, or the process, stood still.
constexpr std::chrono::seconds kSleepGap{3};

std::chrono::nanoseconds boot_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

void ConnectionManager::network_changed(const std::vector<std::string>& addresses) {
  for (auto& [number, connection] : connections_) {
    const auto local = HostPort::parse(connection.socket->link().path().local, 0);
    connection.stranded = local && std::find(addresses.begin(), addresses.end(), local->host) == addresses.end();
    connection.socket->probe();
  }
}

/// A peer that calls although it has a connection with us may have lost it.
void ConnectionManager::probe_connections(const proto::DeviceId& device) {
  const auto peer = peers_.find(device);
  if (peer == peers_.end()) return;
  for (const ConnectionNumber number : peer->second.connections) connections_.at(number).socket->probe();
}

void ConnectionManager::start_ticking() {
  if (tick_.armed()) return;  // what comes often must not put it off
  tick_begun_ = boot_time();
  tick_.arm_in(kTick);
}

void ConnectionManager::probe_after_sleep() {
  const std::chrono::nanoseconds took = boot_time() - tick_begun_;
  if (took < kSleepGap) return;
  spdlog::info("stood still for {} s: probing all connections",
               std::chrono::duration_cast<std::chrono::seconds>(took).count());
  for (auto& [number, connection] : connections_) connection.socket->probe();
}

}  // namespace connd::daemon
