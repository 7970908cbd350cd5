// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/lan_discovery.h"

#include <poll.h>

#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/daemon/network_namespace.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;
using proto::ByteVector;
using std::chrono::milliseconds;

namespace {

/// 4 or 16 bytes of address and a port, as text.
std::string text_of(const SocketAddress& address) {
  char text[INET_ADDRSTRLEN]{};
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
  ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
}

LanDiscoveryConfig config_of(std::uint8_t number) {
  LanDiscoveryConfig config;
  config.node_id.fill(number);
  config.port4 = static_cast<std::uint16_t>(4'000 + number);
  return config;
}

/// A machine on the LAN, or not on it, in the hands of the test.
struct Machine {
  ipc::Fd fd;

  /// In the namespace of the calling thread.
  explicit Machine(std::uint16_t port = 0) : fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  }
  void join() const {
    ip_mreqn request{};
    REQUIRE(::inet_pton(AF_INET, proto::kDhtDiscoveryGroup4, &request.imr_multiaddr) == 1);
    REQUIRE(::setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0);
    const int off = 0;  // it does not hear itself
    REQUIRE(::setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof off) == 0);
  }
  void say(proto::Bytes bytes, const char* to) const {
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_port = htons(proto::kDhtDiscoveryPort);
    REQUIRE(::inet_pton(AF_INET, to, &target.sin_addr) == 1);
    REQUIRE(::sendto(fd.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&target),
                     sizeof target) == static_cast<ssize_t>(bytes.size()));
  }
  std::optional<ByteVector> hear(int limit_ms = 60'000) const {
    pollfd wanted{fd.get(), POLLIN, 0};
    if (::poll(&wanted, 1, limit_ms) != 1) return std::nullopt;
    ByteVector out(2'000);
    const ssize_t size = ::recv(fd.get(), out.data(), out.size(), 0);
    REQUIRE(size >= 0);
    out.resize(static_cast<std::size_t>(size));
    return out;
  }
};

ByteVector announcement(std::uint8_t number, std::uint16_t port, std::uint32_t network = 0) {
  proto::DhtAnnouncement out;
  out.node_id.fill(number);
  out.port = port;
  out.network = network;
  return proto::encode_dht_discovery(out);
}

const ByteVector kQuestion{0xa1, 'q'};
/// What it hears of itself: its question and its announcement, which the group sends back, and its answer to the
/// question.
constexpr std::uint64_t kOwn = 3;

/// Our discovery at 192.168.79.1, and another machine of that LAN at .2, which also has an address beyond it.
struct Lan {
  Loop loop;
  std::vector<std::string> found;
  std::optional<Machine> other;
  std::optional<LanDiscovery> ours;
  bool skipped = false;

  Lan() {
    const Namespace here;
    if (!here.entered()) {
      WARN("skipped: network namespaces need root");
      skipped = true;
      return;
    }
    {
      const Namespace there;
      shell("ip link add name lan1 type veth peer name lan0 && ip link set lan0 netns " + here.path() +
            " && nsenter --net=" + here.path() + " ip link set lan0 addrgenmode none up");
      plug_in("lan1", "192.168.79.2");
      wait_for_carrier("lan1");
      other.emplace(proto::kDhtDiscoveryPort);
      other->join();
    }
    plug_in("lan0", "192.168.79.1");
    wait_for_carrier("lan0");
    ours.emplace(loop, config_of(1), [this](const SocketAddress& address) { found.push_back(text_of(address)); });
    ours->ask();
  }
  /// Runs the loop until so many datagrams have come.
  void receive(std::uint64_t count) {
    Timer late(loop, [] { FAIL("too late"); });
    late.arm_in(milliseconds(60'000));
    BeforeWait check(loop, [&] {
      if (ours->counters().received >= count) loop.stop();
    });
    if (ours->counters().received < count) loop.run();
  }
};

}  // namespace

TEST_CASE("LanDiscovery asks and announces when it comes up, hands on who announces, and answers who asks") {
  Lan lan;
  if (lan.skipped) return;
  CHECK(lan.other->hear() == kQuestion);
  CHECK(lan.other->hear() == announcement(1, 4'001));
  lan.other->say(announcement(2, 5'002), proto::kDhtDiscoveryGroup4);
  lan.other->say(kQuestion, "192.168.79.1");
  lan.receive(kOwn + 2);
  CHECK(lan.found == std::vector<std::string>{"192.168.79.2:5002"});
  CHECK(lan.other->hear() == announcement(1, 4'001));
  CHECK(lan.ours->counters().dropped == 0);
}

TEST_CASE("fault A1: what strangers say to LAN discovery is walked, and dropped") {
  Lan lan;
  if (lan.skipped) return;
  std::uint64_t sent = 0;
  const auto say = [&](const ByteVector& bytes) {
    lan.other->say(bytes, proto::kDhtDiscoveryGroup4);
    ++sent;
  };
  say({});
  say({0xdd, 0xff, 0xff, 0xff, 0xff});                                   // an array of 2^32 - 1
  say({0x81, 0xa3, 'd', 'h', 't', 0x01});                                // a number for a node
  say({0x81, 0xa3, 'd', 'h', 't', 0x93, 0xc4, 0x01, 0x00, 0x01, 0x00});  // an id of one byte
  say(ByteVector(1'501, 0xc0));
  const auto good = announcement(2, 5'002);
  for (std::size_t length = 1; length < good.size(); ++length)
    say(ByteVector(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)));
  lan.receive(kOwn + sent);
  CHECK(lan.found.empty());
  CHECK(lan.ours->counters().dropped == sent);
}

TEST_CASE("LanDiscovery: other networks, ourselves, and who is not on the LAN are of no interest") {
  Lan lan;
  if (lan.skipped) return;
  lan.other->say(announcement(2, 5'002, 7), proto::kDhtDiscoveryGroup4);
  lan.other->say(announcement(1, 4'001), proto::kDhtDiscoveryGroup4);
  lan.receive(kOwn + 2);
  CHECK(lan.found.empty());
  CHECK(lan.ours->counters().dropped == 0);
}

TEST_CASE("LanDiscovery: strangers cannot make us contact more than so many, nor one address again and again") {
  Lan lan;
  if (lan.skipped) return;
  for (std::uint16_t i = 0; i < 100; ++i) lan.other->say(announcement(2, 5'002), "192.168.79.1");
  lan.receive(kOwn + 100);
  CHECK(lan.found.size() == 1);
  for (std::uint16_t i = 0; i < 100; ++i) {
    lan.other->say(announcement(2, static_cast<std::uint16_t>(6'000 + i)), "192.168.79.1");
  }
  lan.receive(kOwn + 200);
  CHECK(lan.found.size() >= kLanBurst);
  CHECK(lan.found.size() <= kLanBurst + 20 * kLanPingsPerSecond);  // as long as it may have taken
  CHECK(lan.ours->counters().dropped == 101 - lan.found.size());
}
