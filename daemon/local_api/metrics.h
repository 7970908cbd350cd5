// SPDX-License-Identifier: GPL-3.0-or-later
/// What `daemon.status` counts: one table of names, kinds, texts, and where each comes from. A new one is a line in it,
/// and one in ipc/PROTOCOL.md, which a test asks for.
///
/// No state; the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "daemon/dht/dht_client.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/path/front_door.h"
#include "ipc/message.h"

namespace connd::daemon {

/// Where the numbers come from. What is null or empty is not there, now or for the one who asks: its metrics are left
/// out.
struct MetricSources {
  const ManagerTotals* connections = nullptr;
  const DhtStatus* dht = nullptr;
  const FrontDoor::Counters* door = nullptr;
  const ClientTotals* clients = nullptr;
  std::optional<std::uint64_t> network_changes{};
  std::optional<double> revocations_asked_s{};
  std::optional<std::uint64_t> clients_held_back{};
  std::optional<std::int64_t> loop_longest_turn_us{};
};

struct Metric {
  enum class Kind : std::uint8_t {
    kCounter,  ///< never less than before, while the daemon has this identity
    kGauge,
  };

  std::string name;
  Kind kind = Kind::kCounter;
  std::string help;  ///< one clause
  /// Null: its source is not there.
  std::function<ipc::Json(const MetricSources&)> get;
};

/// All of them; made once.
const std::vector<Metric>& metrics();
/// Those whose sources are there, by name.
void add_metrics(const MetricSources& sources, ipc::Json& out);

}  // namespace connd::daemon
