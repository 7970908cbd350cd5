// SPDX-License-Identifier: GPL-3.0-or-later
/// plant_chain BOOTSTRAP: somebody who puts certificates of other people's keys on the DHT, as anybody can. BOOTSTRAP
/// is ADDRESS:PORT of a node. Prints `connected`; then, for each line of standard input:
///   put WHERE CHAIN  the chain in the file CHAIN (PEM), at the key of its leaf where jami-connd looks for it: `own`,
///                    `short` or `long`; `stored`, or `refused` when no node took it
#include <cstdio>
#include <fstream>
#include <future>
#include <iostream>
#include <sstream>

#include "daemon/dht/dht_setup.h"

namespace {

using namespace connd;
using namespace connd::daemon;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

/// Where, and what; as published_values() has it.
std::pair<dht::InfoHash, dht::Value> planted(const std::string& where, const dht::crypto::Certificate& chain) {
  const auto device = id_of<proto::DeviceId>(chain.getLongId());
  if (where == "short") return {chain.getId(), dht::Value(dht::CERTIFICATE_TYPE, chain, random_value_id())};
  if (where == "long") return {long_id_key(device), dht::Value(dht::CERTIFICATE_TYPE, chain, random_value_id())};
  dht::Value value(dht::ValueType::USER_DATA.id, chain.getPacked(), random_value_id());
  value.user_type = kChainType;
  return {own_chain_key(device), std::move(value)};
}

void run(const std::string& bootstrap) {
  dht::DhtRunner runner;
  std::promise<void> connected;
  dht::DhtRunner::Context context;
  context.statusChangedCallback = [&, told = false](dht::NodeStatus v4, dht::NodeStatus) mutable {
    if (v4 == dht::NodeStatus::Connected && !std::exchange(told, true)) connected.set_value();
  };
  DhtConfig config;
  config.lan_discovery = false;
  auto runner_config = dht_runner_config(config, {});
  runner.run(in_port_t{0}, runner_config, std::move(context));
  // It keeps such certificates itself, and others' nodes ask it.
  runner.registerType({dht::CERTIFICATE_TYPE.id, dht::CERTIFICATE_TYPE.name, dht::CERTIFICATE_TYPE.expiration,
                       may_store_certificate, may_edit_certificate});
  const auto [host, port] = parse_bootstrap(bootstrap);
  runner.bootstrap(host, port);
  connected.get_future().wait();
  say("connected");
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    std::string where;
    std::string file;
    words >> verb >> where >> file;
    std::ifstream in(file);
    const std::string pem(std::istreambuf_iterator<char>(in), {});
    auto [key, value] = planted(where, dht::crypto::Certificate(pem));
    std::promise<bool> stored;
    runner.put(
        key, std::move(value), [&](bool ok) { stored.set_value(ok); }, dht::time_point::max(), true);
    say(stored.get_future().get() ? "stored" : "refused");
  }
  runner.join();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: plant_chain BOOTSTRAP\n");
    return 2;
  }
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "plant_chain: %s\n", error.what());
    return 1;
  }
  return 0;
}
