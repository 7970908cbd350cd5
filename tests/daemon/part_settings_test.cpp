// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/part_settings.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {
constexpr std::int64_t kNow = 1'700'000'000;
}

TEST_CASE("the DHT's settings: sizes in bytes, and a file of known nodes for each bootstrap list") {
  Config config;
  config.dht_port = 4'000;
  config.dht_max_store = 3;
  config.dht_max_value = 5;
  config.no_lan_discovery = true;
  config.dht_keep_nothing = true;
  config.bootstrap = {{"a", 1}};
  const TempDir dir;
  REQUIRE(generate_identity(dir.path(), {.rsa_bits = 2'048, .now_unix = kNow}));
  const auto sign = [](std::string_view, const std::string&) { return std::string("announcement"); };
  const auto identity = load_identity(dir.path(), kNow, sign);
  REQUIRE(identity);
  const DhtConfig dht = dht_settings(config, "/state", *identity);
  CHECK(dht.port == 4'000);
  CHECK(dht.max_store_bytes == 3 * 1024 * 1024);
  CHECK(dht.max_value_bytes == std::size_t{5} * 1024);
  CHECK_FALSE(dht.lan_discovery);
  CHECK(dht.keep_nothing);
  CHECK(dht.certificate_chain_pem == identity->chain_pem);
  CHECK(dht.device_key_pem == identity->device_key_pem.view());
  CHECK(dht.announcement == "announcement");
  CHECK(dht.bootstrap == std::vector<std::string>{"a:1"});
  CHECK(dht.state_file == "/state/" + known_nodes_file({"a:1"}));
  config.bootstrap.clear();
  CHECK(dht_settings(config, "/state", *identity).state_file.empty());
}

TEST_CASE("the connections' settings: as many channels as files allow, and as ids are on one connection") {
  Config config;
  config.max_connection_buffer = 2;
  config.idle_timeout = std::chrono::seconds(7);
  FdLimits fds;
  fds.max_channels = 1'000;
  ManagerSettings settings = manager_settings(config, fds);
  CHECK(settings.limits.max_channels == 1'000);
  CHECK(settings.mux.max_channels == 1'000);
  CHECK(settings.mux.max_buffer == std::size_t{2} << 20);
  CHECK(settings.limits.idle_time == std::chrono::seconds(7));
  fds.max_channels = 1'000'000;
  settings = manager_settings(config, fds);
  CHECK(settings.limits.max_channels == 1'000'000);
  CHECK(settings.mux.max_channels == proto::kMaxChannels);
}

TEST_CASE("the local API's settings") {
  Config config;
  config.max_clients = 11;
  config.accept_timeout = std::chrono::seconds(12);
  config.reservations = {{"file://", 1000, std::nullopt}};
  FdLimits fds;
  fds.max_channels = 13;
  const IpcSettings ipc = ipc_settings(config, fds);
  CHECK(ipc.max_clients == 11);
  CHECK(ipc.ask_time == std::chrono::seconds(12));
  CHECK(ipc.max_channels == 13);
  CHECK(ipc.reservations == config.reservations);
}
