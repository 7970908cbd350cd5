// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/offered_addresses.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/daemon/network_namespace.h"

using namespace connd::daemon;
using namespace connd::daemon::test;

using Texts = std::vector<std::string>;

namespace {

InterfaceAddress on(const std::string& interface, const std::string& text) {
  return {text, interface, text.find(':') != std::string::npos, interface == "lo", is_link_local(text)};
}

/// With bridges whose names begin with br.
AddressFacts machine(std::vector<InterfaceAddress> addresses, const InternetSources& internet = {}) {
  addresses.insert(addresses.begin(), {on("lo", "127.0.0.1"), on("lo", "::1")});
  return {std::move(addresses), internet, [](const std::string& interface) { return interface.starts_with("br"); }};
}

OfferedAddresses offering(const Texts& local) {
  OfferedAddresses out;
  out.local = local;
  return out;
}

}  // namespace

TEST_CASE("what leads to the internet is offered first, bridges of guests, link-local and loopback not at all") {
  const AddressFacts facts =
      machine({on("br-docker", "172.17.0.1"), on("eth1", "192.168.7.2"), on("eth0", "169.254.3.4"),
               on("eth0", "192.168.1.2"), on("eth0", "2001:db8::2"), on("tun0", "10.8.0.2")},
              {"192.168.1.2", "2001:db8::2"});
  CHECK(choose_addresses(facts, {}) == Texts{"192.168.1.2", "192.168.7.2", "10.8.0.2", "2001:db8::2"});
  CHECK(choose_addresses(facts, {true}) ==
        Texts{"192.168.1.2", "192.168.7.2", "10.8.0.2", "127.0.0.1", "2001:db8::2", "::1"});
}

TEST_CASE("a bridge by which the internet is reached is offered") {
  const AddressFacts facts = machine({on("br0", "192.168.1.2"), on("br1", "10.0.3.1")}, {"192.168.1.2", ""});
  CHECK(choose_addresses(facts, {}) == Texts{"192.168.1.2"});
}

TEST_CASE("where nothing else is there, bridges and link-local addresses are offered, then loopback") {
  CHECK(choose_addresses(machine({on("br0", "10.0.3.1"), on("eth0", "169.254.3.4")}), {}) ==
        Texts{"10.0.3.1", "169.254.3.4"});
  CHECK(choose_addresses(machine({}), {}) == Texts{"127.0.0.1", "::1"});
}

TEST_CASE("with --interface only those are offered, whatever they are") {
  const AddressFacts facts = machine({on("eth0", "192.168.1.2"), on("br0", "10.0.3.1"), on("tun0", "10.8.0.2")});
  CHECK(choose_addresses(facts, {false, {"tun0"}}) == Texts{"10.8.0.2"});
  CHECK(choose_addresses(facts, {true, {"br0", "tun0"}}) == Texts{"10.0.3.1", "10.8.0.2"});
  CHECK(choose_addresses(facts, {false, {"lo"}}) == Texts{"127.0.0.1", "::1"});
  CHECK(choose_addresses(facts, {true, {"wlan0"}}).empty());
}

TEST_CASE("of very many addresses a bounded number is offered, of each interface and both families") {
  std::vector<InterfaceAddress> many;
  for (int i = 0; i < 300; ++i) many.push_back(on("kube0", "10.96.0." + std::to_string(i)));
  for (int i = 0; i < 30; ++i) many.push_back(on("eth0", "2001:db8::" + std::to_string(i)));
  many.push_back(on("eth0", "192.168.1.2"));
  many.push_back(on("eth1", "192.168.2.2"));
  const Texts chosen = choose_addresses(machine(many, {"192.168.1.2", "2001:db8::7"}), {});
  REQUIRE(chosen.size() == kMaxOfferedAddresses);
  CHECK(chosen[0] == "192.168.1.2");
  CHECK(std::count(chosen.begin(), chosen.end(), "192.168.2.2") == 1);
  CHECK(chosen[kMaxOfferedOfFamily] == "2001:db8::7");
  const auto v6 = std::count_if(chosen.begin(), chosen.end(), [](const auto& a) { return a[4] == ':'; });
  CHECK(v6 == static_cast<long>(kMaxOfferedOfFamily));
}

TEST_CASE("public addresses become active candidates, to which nobody connects") {
  const auto lines = public_candidates({"11.0.113.10", "2001:db8::10"}, offering({"192.168.1.2"}));
  REQUIRE(lines.size() == 2);
  CHECK(to_line(lines[0]) == "p1 1 TCP 1688207359 11.0.113.10 9 typ srflx tcptype active");
  CHECK(to_line(lines[1]) == "p2 1 TCP 1688207103 2001:db8::10 9 typ srflx tcptype active");
}

TEST_CASE("what is no public address, or our own, is no candidate; nor are very many") {
  CHECK(public_candidates({"192.168.1.1", "100.64.1.2", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1",
                           "255.255.255.255", "fd00::1", "::1", "fe80::1", "ff02::1", "::ffff:11.0.113.10", "junk", ""},
                          {})
            .empty());
  CHECK(public_candidates({"11.0.113.10"}, offering({"11.0.113.10"})).empty());
  Texts many;
  for (int i = 1; i < 200; ++i) many.push_back("11.0.113." + std::to_string(i));
  CHECK(public_candidates(many, {}).size() == kMaxPublicAddresses);
}

TEST_CASE("a peer's private addresses may wait where we have a public one of that family") {
  const auto line = [](const std::string& address, const std::string& how) {
    return *connd::proto::parse_candidate("7 1 TCP 5 " + address + " 80 typ host tcptype " + how);
  };
  const OfferedAddresses server = offering({"10.8.0.2", "11.0.113.10"});
  CHECK(server.may_wait(line("192.168.1.2", "passive")));
  CHECK(server.may_wait(line("100.64.1.2", "so")));
  CHECK_FALSE(server.may_wait(line("192.168.1.2", "active")));  // nobody connects to it
  CHECK_FALSE(server.may_wait(line("11.0.113.20", "passive")));
  CHECK_FALSE(server.may_wait(line("fd00::1", "passive")));
  CHECK_FALSE(offering({"192.168.1.2", "2001:db8::2"}).may_wait(line("192.168.1.3", "passive")));
  CHECK(offering({"192.168.1.2", "2001:db8::2"}).may_wait(line("fd00::1", "passive")));
}

TEST_CASE("with --interface a public address is told where the way to the internet is by it") {
  OfferedAddresses offered = offering({"10.8.0.2"});
  offered.public_v4 = false;
  CHECK(public_candidates({"11.0.113.10"}, offered).empty());
  CHECK(public_candidates({"11.0.113.10", "2001:db8::10"}, offered).size() == 1);
}

TEST_CASE("this machine's own addresses are chosen the same way") {
  const Namespace of_its_own;
  if (!of_its_own.entered()) {
    WARN("no network namespaces here");
    return;
  }
  shell("ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
  shell("ip link add eth0 type veth peer name far0 && ip link set far0 up && ip link set eth0 up");
  shell("ip link add br0 type bridge && ip link add p0 type veth peer name g0");
  shell("ip link set p0 master br0 && ip link set p0 up && ip link set g0 up && ip link set br0 up");
  shell("ip addr add 172.17.0.1/16 dev br0; ip addr add 192.168.1.2/24 dev eth0; ip addr add 169.254.9.9/16 dev eth0");
  shell("ip route add default dev eth0 src 192.168.1.2");
  wait_for_carrier("eth0");
  wait_for_carrier("br0");
  CHECK(internet_sources().v4 == "192.168.1.2");
  CHECK(offered_addresses({}).local == Texts{"192.168.1.2"});
  const OfferedAddresses bridge = offered_addresses({false, {"br0"}});
  CHECK(bridge.local == Texts{"172.17.0.1"});
  CHECK_FALSE(bridge.public_v4);
  CHECK(offered_addresses({false, {"eth0"}}).public_v4);
  CHECK(local_addresses(false)->size() == 3);  // what changes of is told, is all
}
