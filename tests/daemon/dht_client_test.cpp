// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_client.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/dht/dht_setup.h"
#include "tests/daemon/dht_peers.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

TEST_CASE("DhtClient says at start what is wrong") {
  Loop loop;
  const Peer first(loop, config_of(device(0), {}));
  DhtConfig config = config_of(device(1), {});

  config.port = first.client->status().port4;
  CHECK(start_error(config) == "UDP port " + std::to_string(config.port) + " is taken (choose another for the DHT)");
  config.port = first.client->status().port6;
  config.bind4 = "127.0.0.2";
  CHECK(start_error(config).find("is taken") != std::string::npos);

  config = config_of(device(1), {});
  config.bind4 = "192.0.2.1";  // RFC 5737: an address that is nobody's
  CHECK(start_error(config).find("cannot bind the DHT to 192.0.2.1") == 0);
  config.bind4 = "here";
  CHECK(start_error(config) == "'here' is not an IPv4 address to bind");

  for (const char* bad : {"", ":4222", "host:", "host:0", "host:65536", "host:x", "::1", "[::1]:", "a:1:2"}) {
    CHECK(start_error(config_of(device(1), {bad})) == "bootstrap '" + std::string(bad) + "' is not HOST:PORT");
  }
  CHECK(start_error(config_of(device(1), {"127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:1"})).empty());

  config = config_of(device(1), {});
  config.device_key_pem = device(2).key_pem;
  CHECK(start_error(config) == "the device key does not belong to the device certificate");
  config.device_key_pem = "-----BEGIN";
  CHECK(start_error(config).find("cannot be read") != std::string::npos);
  config = config_of(device(1), {});
  config.announcement = sign_announcement(pem_of(*authority().first), config.certificate_chain_pem);
  CHECK(start_error(config) == "the device's announcement is not signed by the account that issued its certificate");
  config.announcement = "junk";
  CHECK(start_error(config).find("the device's announcement cannot be read: ") == 0);
  const auto curve = dht::crypto::generateEcIdentity("curve", account(), false);
  config = config_of(device(1), {});
  config.device_key_pem = pem_of(*curve.first);
  config.certificate_chain_pem = curve.second->toString(true);
  CHECK(start_error(config) == "the device key is not an RSA key, and OpenDHT encrypts to no other");
}

TEST_CASE("DhtClient: its sockets hold bursts of large values") {
  Loop loop;
  const Peer peer(loop, config_of(device(0), {}));
  int most = 0;
  std::ifstream("/proc/sys/net/core/rmem_max") >> most;
  REQUIRE(most > 0);
  int sockets = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) continue;
    const std::uint16_t port = ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    const DhtStatus& status = peer.client->status();
    if (bound.ss_family != AF_INET ? bound.ss_family != AF_INET6 || port != status.port6 : port != status.port4)
      continue;
    int size = 0;
    length = sizeof size;
    REQUIRE(::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length) == 0);
    CHECK(size == 2 * std::min(most, 4 << 20));  // socket(7): twice what was asked for
    ++sockets;
  }
  CHECK(sockets == (peer.client->status().port4 != 0) + (peer.client->status().port6 != 0));
}

TEST_CASE("DhtClient: other nodes say at which address they see this machine") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  CHECK(alice.client->status().seen_at.best().empty());
  REQUIRE(run_until(loop, [&] { return !alice.client->status().seen_at.best().empty(); }));
  CHECK(alice.client->status().seen_at.best().front() == "127.0.0.1");
}

TEST_CASE("DhtClient: a device is found by its long id alone, through storage nodes that know nothing of us") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  Peer bob(loop, config_of(device(1), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected() && bob.connected(); }));
  CHECK(alice.states.back() == DhtState::kConnected);
  REQUIRE(published(loop, alice, device(1)));

  const auto chain = alice.find(device(1));
  REQUIRE(chain.has_value());
  CHECK(*chain == *proto::CertificateChain::from_pem(device(1).chain_pem));  // byte for byte

  // Nobody has published the third one.
  CHECK_FALSE(alice.find(device(2)).has_value());
  CHECK_FALSE(alice.find(device(2), true).has_value());
}

TEST_CASE("DhtClient: what strangers put at a device's keys is not taken for its certificate") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected(); }));

  const auto key = dht::InfoHash::get("jami-connd:certificate:" + device(2).id.hex());
  for (int i = 0; i < 10; ++i) {
    dht::Value junk(dht::ValueType::USER_DATA.id, dht::Blob(100, static_cast<std::uint8_t>(i)));
    junk.user_type = "jami-connd:certificate";
    REQUIRE(storage.put(key, std::move(junk)));
  }
  dht::Value other(dht::ValueType::USER_DATA.id, device(1).identity.second->getPacked());
  other.user_type = "jami-connd:certificate";
  REQUIRE(storage.put(key, std::move(other)));
  CHECK_FALSE(alice.find(device(2)).has_value());

  // Ten pieces of junk and one of somebody else's do not hide the right one.
  dht::Value right(dht::ValueType::USER_DATA.id, device(2).identity.second->getPacked());
  right.user_type = "jami-connd:certificate";
  REQUIRE(storage.put(key, std::move(right)));
  CHECK(alice.find(device(2)).has_value());
}

namespace {

/// What costs most to find out that it is none: armour, and base64 of a certificate that is cut short.
dht::Blob junk_chain(std::size_t bytes, std::uint8_t fill) {
  const std::string& real = device(1).chain_pem;
  dht::Blob out(real.begin(), real.begin() + static_cast<std::ptrdiff_t>(real.size() / 2));
  out.push_back(fill);
  while (out.size() < bytes) out.insert(out.end(), real.begin(), real.end());
  out.resize(bytes);
  return out;
}

}  // namespace

TEST_CASE("fault A6: junk hides no certificate, and is not read on the loop") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected(); }));
  const auto key = dht::InfoHash::get("jami-connd:certificate:" + device(2).id.hex());
  const auto put = [&](dht::Blob data) {
    dht::Value value(dht::ValueType::USER_DATA.id, std::move(data));
    value.user_type = "jami-connd:certificate";
    REQUIRE(storage.put(key, std::move(value)));
  };
  SECTION("long ones, which are not read at all") {
    for (std::uint8_t i = 0; i < 40; ++i) put(junk_chain(60'000, i));
  }
  SECTION("as long as a chain may be") {
    for (std::uint8_t i = 0; i < 40; ++i) put(junk_chain(kMaxChainBytes, i));
  }
  SECTION("short ones") {
    for (std::uint8_t i = 0; i < 60; ++i) put(junk_chain(1'000, i));
  }
  put(device(2).identity.second->getPacked());
  CHECK(alice.find(device(2)).has_value());
}

TEST_CASE("fault B7: junk where a list is looked for hides none") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected(); }));
  const std::string name = "jami-connd:revoked:" + std::string(40, 'a');
  const auto put = [&](dht::Blob data) {
    dht::Value value(dht::ValueType::USER_DATA.id, std::move(data));
    value.user_type = "jami-connd:record";
    REQUIRE(storage.put(dht::InfoHash::get(name), std::move(value)));
  };
  const dht::Blob list(5'000, 0x30);
  for (std::uint8_t i = 0; i < 100; ++i) put(dht::Blob(100, i));
  put(dht::Blob(40'000, 0x30));  // longer than any
  put(list);
  std::optional<std::vector<proto::ByteVector>> found;
  alice.client->find_published(name, loop.now() + seconds(20), [&](const auto& records) { found = records; });
  REQUIRE(run_until(loop, [&] { return found.has_value(); }));
  CHECK(std::count(found->begin(), found->end(), list) == 1);
  CHECK(found->size() == 101);
}

TEST_CASE("fault B7: a list that many put is kept a few times") {
  const proto::ByteVector list(5'000, 0x30);
  const proto::ByteVector other(5'000, 0x31);
  std::set<dht::Value::Id> ids;
  for (unsigned i = 0; i < kRecordIds; ++i) {
    CHECK(record_value_id(list, i) == record_value_id(list, i));
    ids.insert({record_value_id(list, i), record_value_id(other, i)});
  }
  CHECK(ids.size() == 2 * kRecordIds);
  CHECK(ids.count(0) == 0);
  // Known bytes: echo -n abc, and a zero byte, through sha1sum.
  CHECK(record_value_id(proto::ByteVector{'a', 'b', 'c'}, 0) == 0xa17cc45a80836468);

  // Two devices put it, and a third finds it once.
  Loop loop;
  Peer server(loop, config_of(device(0), {}));
  Peer alice(loop, config_of(device(1), {server.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected() && server.connected(); }));
  server.client->publish("x", list);
  alice.client->publish("x", list);
  std::vector<proto::ByteVector> found;
  for (int i = 0; i < 200 && found.empty(); ++i) {
    bool over = false;
    alice.client->find_published("x", loop.now() + seconds(20), [&](const auto& records) {
      found = records;
      over = true;
    });
    REQUIRE(run_until(loop, [&] { return over; }));
  }
  CHECK(found == std::vector<proto::ByteVector>{list});
}

TEST_CASE("DhtClient: the short id finds a device of 2023, our own node serves those of 2026") {
  Loop loop;
  Peer server(loop, config_of(device(0), {}));
  Stranger jami2023(device(1).identity);  // publishes under its short id, as OpenDHT does by itself
  connect(jami2023, server);
  REQUIRE(run_until(loop, [&] { return server.connected(); }));
  bool found = false;
  for (int i = 0; i < 100 && !found; ++i) found = server.find(device(1), true).has_value();
  CHECK(found);
  CHECK_FALSE(server.find(device(1)).has_value());

  // Its certificate type is accepted by our node under the hash of the long id, and only that of the right device.
  Stranger jami2026;
  connect(jami2026, server);
  const auto key = dht::InfoHash::get(device(2).id.bytes.data(), device(2).id.bytes.size());
  jami2026.put(key, dht::Value(dht::CERTIFICATE_TYPE, *device(1).identity.second));
  CHECK_FALSE(server.find(device(2)).has_value());
  jami2026.put(key, dht::Value(dht::CERTIFICATE_TYPE, *device(2).identity.second));
  CHECK(server.find(device(2)).has_value());
}

TEST_CASE("DhtClient: a lookup ends at its deadline; those that find no place wait for one") {
  Loop loop;
  Peer alone(loop, config_of(device(0), {"127.0.0.1:9"}));  // nobody answers there
  const auto start = uv_hrtime();
  CHECK_FALSE(alone.find(device(1), false, milliseconds(100)).has_value());
  CHECK(uv_hrtime() - start < 10'000'000'000);

  std::size_t ended = 0;
  bool last_ended = false;
  for (std::size_t i = 0; i < kMaxLookups; ++i) {
    alone.client->find_certificate(device(1).id, {}, loop.now() + milliseconds(500), ChainUse::kCall, kAny,
                                   [&](const auto& chain) {
                                     CHECK_FALSE(chain.has_value());
                                     ++ended;
                                   });
  }
  alone.client->find_certificate(device(1).id, {}, loop.now() + seconds(60), ChainUse::kCall, kAny,
                                 [&](const auto&) { last_ended = true; });
  REQUIRE(run_until(loop, [&] { return ended == kMaxLookups; }));
  CHECK_FALSE(last_ended);  // it is no answer that there was no place
  bool down = false;
  alone.client->shutdown([&] { down = true; });
  REQUIRE(run_until(loop, [&] { return down; }));
  CHECK(last_ended);  // the end of the client ends them all
}

TEST_CASE("DhtClient: a device that comes up while it is looked for is found") {
  Loop loop;
  Stranger storage;
  Peer asker(loop, config_of(device(1), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return asker.connected(); }));
  std::optional<proto::CertificateChain> found;
  int calls = 0;
  asker.client->find_certificate(device(0).id, std::nullopt, loop.now() + seconds(20), ChainUse::kCall, kAny,
                                 [&](std::optional<proto::CertificateChain> chain) {
                                   found = std::move(chain);
                                   ++calls;
                                 });
  bool looked = false;  // a first time, which takes a millisecond or two
  Timer pause(loop, [&] { looked = true; });
  pause.arm_in(milliseconds(100));
  REQUIRE(run_until(loop, [&] { return looked; }));
  CHECK(calls == 0);
  const Peer late(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return calls > 0; }));
  CHECK(calls == 1);
  REQUIRE(found);
  CHECK(found->device_id() == device(0).id);
}

TEST_CASE("DhtClient announces the device under its account, signed by the account key") {
  Loop loop;
  DhtConfig config = config_of(device(0), {});
  config.announcement = sign_announcement(pem_of(*account().first), config.certificate_chain_pem);
  Peer alice(loop, config);
  Stranger reader;
  connect(reader, alice);
  std::vector<std::shared_ptr<dht::Value>> values;
  for (int i = 0; i < 200 && values.empty(); ++i) values = reader.runner.get(account().second->getId()).get();
  REQUIRE(values.size() == 1);
  CHECK(values[0]->checkSignature());
  CHECK(values[0]->owner->getLongId() == account().second->getLongId());
  CHECK(values[0]->type == dht::ValueType::USER_DATA.id);
  const auto unpacked = msgpack::unpack(reinterpret_cast<const char*>(values[0]->data.data()), values[0]->data.size());
  const auto map = unpacked->as<std::map<std::string, msgpack::object>>();
  REQUIRE(map.size() == 2);
  CHECK(map.at("dev").as<dht::InfoHash>().toString() == device(0).short_id.hex());
  const auto key = map.at("pk").as<std::vector<std::uint8_t>>();
  CHECK(key == device(0).public_key);
}

TEST_CASE("fault J4: what is put for good has the priority at which proxies wake no sleeping phone") {
  Loop loop;
  DhtConfig config = config_of(device(0), {});
  config.announcement = sign_announcement(pem_of(*account().first), config.certificate_chain_pem);
  Peer alice(loop, config);
  Stranger reader;
  connect(reader, alice);
  for (const dht::InfoHash& key : {long_id_key(device(0).id), hash_of(device(0).short_id), own_chain_key(device(0).id),
                                   account().second->getId()}) {
    std::vector<std::shared_ptr<dht::Value>> values;
    for (int i = 0; i < 200 && values.empty(); ++i) values = reader.runner.get(key).get();
    REQUIRE(values.size() == 1);
    CHECK(values[0]->priority == 1);
  }
}

TEST_CASE("DhtClient finds the devices of an account, and a device by its short id, and believes nobody else") {
  Loop loop;
  DhtConfig config = config_of(device(0), {});
  config.announcement = sign_announcement(pem_of(*account().first), config.certificate_chain_pem);
  Peer alice(loop, config);
  Peer bob(loop, config_of(device(1), {alice.address()}));
  REQUIRE(run_until(loop, [&] { return bob.connected(); }));
  REQUIRE(published(loop, bob, device(0)));
  const auto account_id = *proto::AccountId::from_hex(account().second->getId().toString());
  // A stranger says that its device is the account's, and signs that itself; and what is no announcement at all.
  Stranger liar(device(2).identity);
  connect(liar, alice);
  const std::string claim =
      "\x82\xa3"
      "dev\xc4\x14";
  dht::Value value(dht::ValueType::USER_DATA.id, dht::Blob(claim.begin(), claim.end()), 7);
  value.sign(*device(2).identity.first);
  REQUIRE(liar.put(account().second->getId(), std::move(value)));

  std::vector<DhtDevice> devices;
  for (int i = 0; i < 200 && devices.empty(); ++i) devices = bob.find_all(account_id);
  REQUIRE(devices.size() == 1);
  CHECK(devices[0].id == device(0).id);
  CHECK(devices[0].short_id == device(0).short_id);
  CHECK(devices[0].public_key_der == device(0).public_key);

  proto::AccountId short_id;
  short_id.bytes = device(0).short_id.bytes;
  const auto one = bob.find_all(short_id);
  REQUIRE(one.size() == 1);
  CHECK(one[0].id == device(0).id);
  CHECK(one[0].public_key_der == device(0).public_key);
  CHECK(bob.find_all(proto::AccountId{}, milliseconds(1'500)).empty());
}

TEST_CASE("DhtClient comes back to the nodes it knew, without any bootstrap") {
  const auto directory = temporary_directory();
  Loop loop;
  Peer stays(loop, config_of(device(0), {}));
  DhtConfig config = config_of(device(1), {stays.address()});
  config.state_file = directory / "dht-nodes";
  {
    Peer goes(loop, config);
    REQUIRE(run_until(loop, [&] { return goes.connected() && goes.client->status().nodes4.good > 0; }));
    bool down = false;
    goes.client->shutdown([&] { down = true; });
    REQUIRE(run_until(loop, [&] { return down; }));
    CHECK_FALSE(goes.connected());
  }
  config.bootstrap.clear();
  {
    Peer back(loop, config);
    CHECK(run_until(loop, [&] { return back.connected(); }));
  }
  // A damaged file is no reason not to start, whatever it says of its length.
  for (const char* damaged : {"", "\xdd\xff\xff\xff\xff junk",
                              "\x91\x82\xa2id\xc4\x01x\xa4"
                              "addr\xc4\x7f",
                              "\x91\xc0"}) {
    std::ofstream(config.state_file, std::ios::binary | std::ios::trunc) << damaged;
    CHECK(start_error(config).empty());
  }
  std::filesystem::remove_all(directory);
}

TEST_CASE("fault E13: each DHT has a file of known nodes of its own, the LAN alone has none") {
  CHECK(known_nodes_file({}).empty());
  const std::string one = known_nodes_file({"bootstrap.jami.net:4222"});
  CHECK(one.starts_with("dht-nodes-"));
  CHECK(known_nodes_file({"dht.example.org:4222"}) != one);
  CHECK(known_nodes_file({"bootstrap.jami.net:4222", "dht.example.org:4222"}) != one);
  CHECK(known_nodes_file({"a:1", "b:2"}) == known_nodes_file({"b:2", "a:1"}));
  CHECK(known_nodes_file({"a:1"}).find('/') == std::string::npos);
}

TEST_CASE("fault E13: what the nodes of another DHT were is removed when this one's are stored") {
  const auto directory = temporary_directory();
  Loop loop;
  Peer stays(loop, config_of(device(0), {}));
  DhtConfig config = config_of(device(1), {stays.address()});
  config.state_file = directory / known_nodes_file(config.bootstrap);
  const auto former = directory / "dht-nodes";
  std::ofstream(former) << "of another";
  std::ofstream(directory / "dht") << "not ours";
  Peer goes(loop, config);
  REQUIRE(run_until(loop, [&] { return goes.connected() && goes.client->status().nodes4.good > 0; }));
  bool down = false;
  goes.client->shutdown([&] { down = true; });
  REQUIRE(run_until(loop, [&] { return down; }));
  CHECK(std::filesystem::exists(config.state_file));
  CHECK_FALSE(std::filesystem::exists(former));
  CHECK(std::filesystem::exists(directory / "dht"));
  std::filesystem::remove_all(directory);
}

TEST_CASE("DhtClient: a bootstrap that no name service knows is told of, and is no end of the others") {
  Loop loop;
  const Peer server(loop, config_of(device(0), {}));
  DhtConfig config = config_of(device(1), {"no-such-host.invalid", server.address()});
  config.ask_bootstrap_interval = milliseconds(0);
  DhtClient client(loop, config, DhtHandlers{});
  const auto told = [&client] {
    return client.status().unresolved == std::vector<std::string>{"no-such-host.invalid"};
  };
  CHECK(run_until(loop, [&] { return told() && client.status().state == DhtState::kConnected; }));
}

TEST_CASE("DhtClient may be destroyed from its callbacks, and is silent afterwards") {
  Loop loop;
  Peer server(loop, config_of(device(0), {}));
  int calls = 0;
  std::unique_ptr<DhtClient> client;
  DhtHandlers handlers;
  handlers.on_state = [&](DhtState state) {
    if (state != DhtState::kConnected) return;
    ++calls;
    client.reset();
  };
  client = std::make_unique<DhtClient>(loop, config_of(device(1), {server.address()}), std::move(handlers));
  client->find_certificate(device(2).id, {}, loop.now() + seconds(20), ChainUse::kCall, kAny,
                           [&](const std::optional<proto::CertificateChain>&) { ++calls; });
  client->send_request(device(0).public_key, kBody, RequestKeys::kBoth, [&](bool) { ++calls; });
  REQUIRE(run_until(loop, [&] { return !client; }));
  const int then = calls;

  client = std::make_unique<DhtClient>(loop, config_of(device(1), {server.address()}), DhtHandlers{});
  client->shutdown([&] {
    ++calls;
    client.reset();
  });
  REQUIRE(run_until(loop, [&] { return !client; }));
  CHECK(calls == then + 1);

  // While OpenDHT is being ended on the pool.
  client = std::make_unique<DhtClient>(loop, config_of(device(1), {server.address()}), DhtHandlers{});
  client->shutdown([&] { ++calls; });
  client.reset();
  bool worked = false;
  loop.post_work([] {}, [&] { worked = true; });
  REQUIRE(run_until(loop, [&] { return worked; }));
  CHECK(calls == then + 1);
}

TEST_CASE("DhtClient shows OpenDHT's log when asked, and takes a change of the network") {
  Loop loop;
  Peer server(loop, config_of(device(0), {}));
  unsigned lines = 0;
  DhtHandlers handlers;
  handlers.on_log = [&](DhtLogLevel, const std::string& line) {
    CHECK(loop.on_thread());
    CHECK(line.find("PRIVATE KEY") == std::string::npos);
    ++lines;
  };
  DhtClient client(loop, config_of(device(1), {server.address()}), std::move(handlers));
  REQUIRE(run_until(loop, [&] { return client.status().state == DhtState::kConnected && lines > 0; }));
  client.network_changed();
  CHECK(published(loop, server, device(1)));
  CHECK(run_until(loop, [&] { return client.status().state == DhtState::kConnected; }));
}
