// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_socket.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <msgpack.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proto/bytes.h"

using namespace connd;
using namespace connd::daemon;
using proto::ByteVector;
using proto::DhtFault;

namespace {

constexpr int kLimit_ms = 60'000;  // that only a failure takes

DhtSocketConfig loopback(std::uint16_t port = 0) {
  DhtSocketConfig config;
  config.port = port;
  config.bind4 = "127.0.0.1";
  config.bind6 = "::1";
  config.node_id = dht::InfoHash::get("the node of this test");
  return config;
}

std::string error_of(const DhtSocketConfig& config) {
  try {
    const DhtPort port(config);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return {};
}

/// Another node's socket, in the hands of the test.
struct Stranger {
  ipc::Fd fd;
  dht::SockAddr address;
  explicit Stranger(const dht::SockAddr& node) : fd(::socket(node.getFamily(), SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(::connect(fd.get(), node.get(), node.getLength()) == 0);
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &length) == 0);
    address = {own, length};
  }
  void say(proto::Bytes bytes) const {
    REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  /// The next datagram, or nothing within the time.
  std::optional<ByteVector> hear(int limit_ms = kLimit_ms) const {
    pollfd wanted{fd.get(), POLLIN, 0};
    if (::poll(&wanted, 1, limit_ms) != 1) return std::nullopt;
    ByteVector out(65'536);
    const ssize_t size = ::recv(fd.get(), out.data(), out.size(), 0);
    REQUIRE(size >= 0);
    out.resize(static_cast<std::size_t>(size));
    return out;
  }
};

/// OpenDHT's place.
struct Node {
  std::shared_ptr<DhtPort> port;
  DhtSocket socket;
  std::mutex mutex;
  std::condition_variable came;
  std::vector<dht::net::ReceivedPacket> packets;
  dht::net::PacketList spent;

  explicit Node(const DhtSocketConfig& config = loopback()) : Node(std::make_shared<DhtPort>(config)) {}
  explicit Node(std::shared_ptr<DhtPort> of) : port(std::move(of)), socket(port) {
    socket.setOnReceive([this](dht::net::PacketList&& list) {
      const std::lock_guard lock(mutex);
      packets.insert(packets.end(), list.begin(), list.end());
      came.notify_all();
      for (auto& packet : list) packet.data.clear();
      return std::move(list);  // to be used again
    });
  }
  ~Node() { socket.stop(); }  // before what the callback uses is gone

  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    return came.wait_for(lock, std::chrono::milliseconds(kLimit_ms), [&] { return packets.size() >= count; });
  }
  int send(const dht::SockAddr& to, proto::Bytes bytes) { return socket.sendTo(to, bytes.data(), bytes.size(), false); }
};

ByteVector from_text(const char* hex) {
  ByteVector out(std::strlen(hex) / 2);
  REQUIRE(proto::from_hex(hex, out));
  return out;
}

using Packer = msgpack::packer<msgpack::sbuffer>;

ByteVector bytes_of(const msgpack::sbuffer& buffer) {
  return {reinterpret_cast<const std::uint8_t*>(buffer.data()),
          reinterpret_cast<const std::uint8_t*>(buffer.data()) + buffer.size()};
}

void pack_id(Packer& packer, const std::string& name) {
  const auto id = dht::InfoHash::get(name);
  packer.pack_bin(20);
  packer.pack_bin_body(reinterpret_cast<const char*>(id.data()), 20);
}

/// {a: {id}, q: "ping", t, v, y: "q"}
ByteVector ping(std::uint32_t transaction) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(5);
  packer.pack("a");
  packer.pack_map(1);
  packer.pack("id");
  pack_id(packer, "a stranger");
  packer.pack("q");
  packer.pack("ping");
  packer.pack("t");
  packer.pack(transaction);
  packer.pack("v");
  packer.pack("RNG1");
  packer.pack("y");
  packer.pack("q");
  return bytes_of(buffer);
}

/// The answer to a ping that came; `padding` bytes longer.
ByteVector reply_to(const ByteVector& query, std::size_t padding = 0) {
  const auto unpacked = msgpack::unpack(reinterpret_cast<const char*>(query.data()), query.size());
  const auto members = unpacked->as<std::map<std::string, msgpack::object>>();
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(padding != 0 ? 5 : 4);
  packer.pack("r");
  packer.pack_map(2);
  packer.pack("id");
  pack_id(packer, "a stranger");
  packer.pack("sa");
  packer.pack_bin(4);
  packer.pack_bin_body("\x7f\0\0\1", 4);
  packer.pack("t");
  packer.pack(members.at("t"));
  packer.pack("v");
  packer.pack("RNG1");
  packer.pack("y");
  packer.pack("r");
  if (padding != 0) {
    packer.pack("z");
    packer.pack(std::string(padding, 'z'));
  }
  return bytes_of(buffer);
}

std::uint64_t dropped(const DhtPort& port) {
  std::uint64_t sum = 0;
  for (const auto count : port.counters().dropped) sum += count;
  return sum;
}

// FAULTS A1: an error without its code; a request that is no map; an update whose request is a number.
const std::array kPoison{"83a16590a179a165a17401", "84a16101a171a470696e67a17401a179a171",
                         "84a17500a16101a17401a179a171"};

}  // namespace

TEST_CASE("DhtPort tells in words why it cannot be opened") {
  const DhtPort port(loopback());
  CHECK(port.bound(AF_INET).getPort() != 0);
  const auto taken = port.bound(AF_INET).getPort();
  CHECK(error_of(loopback(taken)) == "UDP port " + std::to_string(taken) + " is taken (choose another for the DHT)");
  auto config = loopback();
  config.bind4 = "not an address";
  CHECK(error_of(config) == "'not an address' is not an IPv4 address to bind");
  config = loopback();
  config.bind6 = "127.0.0.1";
  CHECK(error_of(config) == "'127.0.0.1' is not an IPv6 address to bind");
  config = loopback();
  config.bind4 = "192.0.2.1";
  CHECK(error_of(config).rfind("cannot bind the DHT to 192.0.2.1: ", 0) == 0);
}

TEST_CASE("DhtPort: both families have one port, a wide buffer, and no IPv4 in the IPv6 socket") {
  const DhtPort port(loopback());
  if (port.bound(AF_INET6)) CHECK(port.bound(AF_INET).getPort() == port.bound(AF_INET6).getPort());
  CHECK(port.bound(AF_INET).getFamily() == AF_INET);
}

TEST_CASE("DhtSocket hands on what nodes say, byte by byte, in both families") {
  Node node;
  std::size_t sent = 0;
  for (const int family : {AF_INET, AF_INET6}) {
    const auto& bound = node.port->bound(static_cast<sa_family_t>(family));
    if (!bound) continue;
    const Stranger stranger(bound);
    for (std::uint32_t i = 0; i < 40; ++i) {
      const auto said = ping(i);
      stranger.say(said);
      REQUIRE(node.wait_for(++sent));
      CHECK(node.packets.back().data == said);
      CHECK(node.packets.back().from == stranger.address);
    }
  }
  CHECK(node.port->counters().received == sent);
  CHECK(node.port->counters().passed == sent);
  CHECK(dropped(*node.port) == 0);
}

TEST_CASE("fault A1: what would end OpenDHT goes no further, and is counted") {
  Node node;
  const Stranger stranger(node.port->bound(AF_INET));
  for (const char* poison : kPoison) stranger.say(from_text(poison));
  stranger.say({});
  stranger.say(ping(1));
  REQUIRE(node.wait_for(1));
  CHECK(node.packets.size() == 1);
  CHECK(node.packets[0].data == ping(1));
  CHECK(node.port->counters().received == kPoison.size() + 2);
  CHECK(dropped(*node.port) == kPoison.size() + 1);
  CHECK(node.port->counters().dropped[static_cast<std::size_t>(DhtFault::kEmpty)] == 1);
}

TEST_CASE("fault A1: what the gate has changed keeps its place among what passed") {
  Node node;
  const Stranger stranger(node.port->bound(AF_INET));
  const ByteVector put = from_text(
      "85a16182a26964c4141111111111111111111111111111111111111111a676616c75657391a178a171a3707574a17401a179a171a176a4"
      "524e4731");
  {
    // While OpenDHT is told of one datagram, two others come, so that they are read at once: a put whose value cannot
    // be read, and a ping.
    const std::lock_guard lock(node.mutex);
    stranger.say(ping(1));
    while (node.port->counters().received == 0) std::this_thread::yield();
    stranger.say(put);
    stranger.say(ping(2));
  }
  REQUIRE(node.wait_for(3));
  const std::lock_guard lock(node.mutex);
  CHECK(node.packets[1].data.size() == put.size() - 1);  // nil, in the place of a text of two bytes
  const ByteVector second = ping(2);
  CHECK(std::equal(second.begin(), second.end(), node.packets[2].data.begin(), node.packets[2].data.end()));
}

TEST_CASE("DhtSocket tells OpenDHT the errors of the kernel, as its own socket does") {
  Node node;
  const auto message = ping(1);
  CHECK(node.send({}, message) == EFAULT);
  CHECK(node.send(dht::SockAddr::resolve("255.255.255.255", "4222").front(), message) != 0);
  auto config = loopback();
  Node only4(config);
  only4.socket.stop();
  CHECK(only4.send(node.port->bound(AF_INET), message) == EAFNOSUPPORT);
  CHECK(node.socket.resolve("no-such-host.invalid", "4222").empty());
  CHECK(node.socket.resolve("192.0.2.1", "4222").size() == 1);
}

TEST_CASE("fault A2: a large answer waits until its address has answered a ping") {
  Node node;
  const Stranger stranger(node.port->bound(AF_INET));
  const auto query = ping(7);
  stranger.say(query);
  REQUIRE(node.wait_for(1));
  const auto answer = reply_to(query, 1'000);
  CHECK(node.send(stranger.address, answer) == 0);  // to OpenDHT: as if sent
  CHECK(node.port->counters().held == 1);
  auto asked = stranger.hear();
  REQUIRE(asked);
  // And no more than that; after a second it is asked once more, which a slow machine may see.
  for (auto more = asked; more; more = stranger.hear(200)) {
    CHECK(*more != answer);
    CHECK(more->size() <= 3 * query.size());
    asked = more;
  }

  stranger.say(reply_to(*asked));
  CHECK(stranger.hear() == answer);
  CHECK(node.port->counters().pongs == 1);
  // Proved: the next one goes at once.
  CHECK(node.send(stranger.address, answer) == 0);
  CHECK(stranger.hear() == answer);
  CHECK(node.port->counters().held == 1);
  CHECK(dropped(*node.port) == 0);
}

TEST_CASE("DhtSocket: what is held is given up in time, without anything coming or going") {
  Node node;
  const Stranger stranger(node.port->bound(AF_INET));
  const auto query = ping(7);
  stranger.say(query);
  REQUIRE(node.wait_for(1));
  CHECK(node.send(stranger.address, reply_to(query, 1'000)) == 0);
  CHECK(node.port->sizes().held_bytes > 0);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(kLimit_ms);
  while (node.port->sizes().held_bytes > 0 && std::chrono::steady_clock::now() < give_up) {
    ::poll(nullptr, 0, 20);  // there is no event to wait for
  }
  CHECK(node.port->sizes().held_bytes == 0);
  CHECK(node.port->counters().dropped[static_cast<std::size_t>(DhtFault::kSendUnproved)] == 1);
}

TEST_CASE("DhtSocket stops while datagrams come and go, and is silent afterwards") {
  for (int round = 0; round < 5; ++round) {
    Node node;
    std::atomic<bool> over{false};
    std::vector<ByteVector> poison;
    for (const char* text : kPoison) poison.push_back(from_text(text));
    std::thread flood([&] {
      const Stranger stranger(node.port->bound(AF_INET));
      for (std::uint32_t i = 0; !over; ++i) {
        const auto said = i % 2 == 0 ? ping(i) : poison[i % poison.size()];
        (void)!::send(stranger.fd.get(), said.data(), said.size(), 0);
        (void)node.send(stranger.address, said);
      }
    });
    CHECK(node.wait_for(100));
    node.socket.stop();
    const std::size_t after = [&] {
      const std::lock_guard lock(node.mutex);
      return node.packets.size();
    }();
    node.socket.stop();
    over = true;
    flood.join();
    CHECK(node.packets.size() == after);
  }
}

TEST_CASE("the port is free again when socket and port have gone") {
  std::uint16_t number = 0;
  {
    const Node node;
    number = node.port->bound(AF_INET).getPort();
  }
  CHECK(error_of(loopback(number)).empty());
}

// Not a test: `dht_test [measure]` prints what a datagram costs from the socket to OpenDHT's queue.
TEST_CASE("DhtSocket: time of a datagram", "[.][measure]") {
  constexpr std::uint32_t kCount = 200'000;
  Node node;
  const Stranger stranger(node.port->bound(AF_INET));
  const auto said = ping(1);
  timespec start{}, end{}, before{}, after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    (void)!::send(stranger.fd.get(), said.data(), said.size(), 0);
    if (i % 256 == 0) REQUIRE(node.wait_for(std::min<std::size_t>(i / 2, node.packets.size() + 1)));
  }
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
  const auto ns = [](const timespec& t) {
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
  };
  const double received = static_cast<double>(node.port->counters().received);
  std::printf("%.0f of %u received, %.2f us each\n", received, kCount,
              (ns(end) - ns(start) - (ns(after) - ns(before))) / received / 1000);
}
