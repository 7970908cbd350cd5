// SPDX-License-Identifier: GPL-3.0-or-later
/// What the tests of the DHT share: devices with keys, clients that keep what they hear, and nodes of OpenDHT alone.
/// Includes Catch for them, after OpenDHT: both have something called WARN.
#pragma once

#include <opendht.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <opendht/securedht.h>

#include "daemon/dht/dht_client.h"

namespace connd::daemon::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline const dht::crypto::Identity& authority() {
  static const auto identity = dht::crypto::generateIdentity("CA", {}, 2048, true);
  return identity;
}
inline const dht::crypto::Identity& account() {
  static const auto identity = dht::crypto::generateIdentity("account", authority(), 2048, true);
  return identity;
}

inline std::string pem_of(const dht::crypto::PrivateKey& key) {
  const auto blob = key.serialize();
  return {blob.begin(), blob.end()};
}

/// A device with its chain; generated once a number, for a key takes its time.
struct Device {
  dht::crypto::Identity identity;
  std::string key_pem;
  std::string chain_pem;
  proto::DeviceId id;
  proto::ShortDeviceId short_id;
  proto::ByteVector public_key;

  explicit Device(const std::string& name)
      : identity(dht::crypto::generateIdentity(name, account(), 2048, false)),
        key_pem(pem_of(*identity.first)),
        chain_pem(identity.second->toString(true)),
        id(*proto::DeviceId::from_hex(identity.second->getLongId().toString())),
        short_id(*proto::ShortDeviceId::from_hex(identity.second->getId().toString())) {
    identity.second->getPublicKey().pack(public_key);
  }
};
inline const Device& device(std::size_t number) {
  static const std::array devices{Device("one"), Device("two"), Device("three")};
  return devices[number];
}

inline DhtConfig config_of(const Device& who, const std::vector<std::string>& bootstrap) {
  DhtConfig config;
  config.device_key_pem = who.key_pem;
  config.certificate_chain_pem = who.chain_pem;
  config.bind4 = "127.0.0.1";
  config.bind6 = "::1";
  config.bootstrap = bootstrap;
  config.lan_discovery = false;
  return config;
}

/// Runs the loop until `done()` or a time that only a failure takes.
template <class F>
bool run_until(Loop& loop, F done, milliseconds limit = seconds(90)) {
  bool late = false;
  Timer timer(loop, [&] {
    late = true;
    loop.stop();
  });
  timer.arm(proto::TimePoint{proto::Duration{uv_hrtime() / 1'000'000}} + limit);
  BeforeWait check(loop, [&] {
    if (done()) loop.stop();
  });
  if (!done()) loop.run();
  return !late;
}

inline const ChainWanted kAny = [](const CheckedChain&) { return true; };

/// A client that keeps what it hears.
struct Peer {
  Loop& loop;
  std::vector<SignalMessage> requests;
  std::vector<DhtState> states;
  std::unique_ptr<DhtClient> client;

  Peer(Loop& l, const DhtConfig& config) : loop(l) {
    DhtHandlers handlers;
    handlers.on_request = [this](SignalMessage request) { requests.push_back(std::move(request)); };
    handlers.on_state = [this](DhtState state) { states.push_back(state); };
    client = std::make_unique<DhtClient>(loop, config, std::move(handlers));
  }
  bool connected() const { return client->status().state == DhtState::kConnected; }
  std::string address() const { return "127.0.0.1:" + std::to_string(client->status().port4); }

  std::optional<proto::CertificateChain> find(const Device& whom, bool also_short = false,
                                              milliseconds within = seconds(60)) {
    std::optional<proto::CertificateChain> found;
    int calls = 0;
    client->find_chain(whom.id, also_short ? std::optional(whom.short_id) : std::nullopt, loop.now() + within,
                       ChainUse::kCall, kAny, [&](std::optional<proto::CertificateChain> chain) {
                         found = std::move(chain);
                         ++calls;
                       });
    CHECK(calls == 0);  // never from inside the call
    REQUIRE(run_until(loop, [&] { return calls > 0; }));
    CHECK(calls == 1);
    return found;
  }
  /// What is found by a 40-digit id.
  std::vector<FoundDevice> find_all(const proto::AccountId& id, milliseconds within = seconds(60)) {
    std::vector<FoundDevice> devices;
    bool over = false;
    client->find_devices(id, loop.now() + within, [&](const std::optional<FoundDevice>& found) {
      CHECK_FALSE(over);
      over = !found;
      if (found) devices.push_back(*found);
    });
    CHECK(devices.empty());  // never from inside the call
    REQUIRE(run_until(loop, [&] { return over; }));
    return devices;
  }
  bool send(proto::Bytes key, proto::Bytes body, SignalKeys keys) {
    std::optional<bool> result;
    client->send_request(key, body, keys, [&](bool stored) { result = stored; });
    CHECK_FALSE(result.has_value());
    REQUIRE(run_until(loop, [&] { return result.has_value(); }));
    return *result;
  }
};

/// A node as others run it: OpenDHT with nothing of ours.
struct Stranger {
  dht::DhtRunner runner;
  explicit Stranger(const dht::crypto::Identity& identity = {}, const char* address = "127.0.0.1",
                    bool lan_discovery = false) {
    dht::DhtRunner::Config config;
    config.dht_config.id = identity;
    config.dht_config.node_config.max_peer_req_per_sec = -1;
    config.peer_discovery = config.peer_publish = lan_discovery;
    runner.run(address, "::1", "0", config);
  }
  std::string address() { return "127.0.0.1:" + std::to_string(runner.getBoundPort()); }
  bool put(const dht::InfoHash& key, dht::Value&& value) {
    std::promise<bool> done;
    runner.put(key, std::move(value), [&](bool ok) { done.set_value(ok); });
    return done.get_future().get();
  }
};

inline void connect(Stranger& stranger, const Peer& peer) {
  std::promise<bool> ready;
  stranger.runner.bootstrap(dht::SockAddr::resolve("127.0.0.1", std::to_string(peer.client->status().port4)),
                            [&](bool ok) { ready.set_value(ok); });
  REQUIRE(ready.get_future().get());
}

/// Waits until a node that the clients use holds what they have published, by asking as anybody would.
inline bool published(Loop& loop, Peer& asker, const Device& whom) {
  for (int i = 0; i < 100; ++i) {
    if (asker.find(whom)) return true;
    bool paused = false;  // OpenDHT tells nobody when a permanent value is stored: ask again, not at once
    Timer pause(loop, [&] { paused = true; });
    pause.arm_in(milliseconds(50));
    run_until(loop, [&] { return paused; });
  }
  return false;
}

inline std::string start_error(const DhtConfig& config) {
  Loop loop;
  try {
    const DhtClient client(loop, config, {});
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return {};
}

inline std::filesystem::path temporary_directory() {
  std::string name = (std::filesystem::temp_directory_path() / "connd-dht-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  return name;
}

inline const proto::Bytes kBody = proto::as_bytes("\x81\xa2id\x07");

}  // namespace connd::daemon::test
