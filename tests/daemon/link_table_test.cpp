// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/link_table.h"

#include <cstring>
#include <string>

#include <catch2/catch.hpp>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "tests/daemon/network_namespace.h"

using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

std::string padded(std::string bytes) {
  bytes.resize(NLMSG_ALIGN(bytes.size()));
  return bytes;
}

std::string attribute(unsigned short type, const std::string& value) {
  rtattr head{static_cast<unsigned short>(RTA_LENGTH(value.size())), type};
  return padded(std::string(reinterpret_cast<const char*>(&head), sizeof head) + value);
}

std::string message(std::uint16_t type, const std::string& body) {
  nlmsghdr head{};
  head.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size());
  head.nlmsg_type = type;
  return padded(std::string(reinterpret_cast<const char*>(&head), sizeof head) + body);
}

std::string link(int index, const std::string& name, const std::string& kind, int master = 0) {
  ifinfomsg body{};
  body.ifi_index = index;
  std::string out(reinterpret_cast<const char*>(&body), sizeof body);
  out += attribute(IFLA_IFNAME, name + '\0');
  if (!kind.empty()) out += attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind + '\0'));
  if (master != 0) out += attribute(IFLA_MASTER, std::string(reinterpret_cast<const char*>(&master), sizeof master));
  return message(RTM_NEWLINK, out);
}

LinkTable table_of(const std::string& messages) {
  LinkTable out;
  CHECK(out.read(messages.data(), messages.size()));
  return out;
}

}  // namespace

TEST_CASE("a bridge of guests has no port but virtual cables and taps") {
  const LinkTable links = table_of(
      link(1, "lo", "") + link(2, "eth0", "", 7) + link(3, "docker0", "bridge") + link(4, "veth1", "veth", 3) +
      link(5, "virbr0", "bridge") + link(6, "vnet0", "tun", 5) + link(7, "br0", "bridge") + link(8, "vnet1", "tun", 7) +
      link(9, "empty0", "bridge") + link(10, "br1", "bridge") + link(11, "bond0.7", "vlan", 10));
  CHECK(links.is_guest_bridge("docker0"));
  CHECK(links.is_guest_bridge("virbr0"));
  CHECK(links.is_guest_bridge("empty0"));
  CHECK_FALSE(links.is_guest_bridge("br0"));  // of guests, and of the cable
  CHECK_FALSE(links.is_guest_bridge("br1"));
  CHECK_FALSE(links.is_guest_bridge("veth1"));  // the way out of a container is such a cable's end
  CHECK_FALSE(links.is_guest_bridge("eth0"));
  CHECK_FALSE(links.is_guest_bridge("no-such"));
}

TEST_CASE("messages that are cut short are passed over, wherever they are cut") {
  const std::string whole = link(3, "docker0", "bridge") + link(4, "veth1", "veth", 3);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // In memory of its own, so that ASan sees what is read behind it.
    const std::string cut(whole, 0, size);
    LinkTable links;
    (void)links.read(cut.data(), cut.size());
    CHECK_FALSE(links.is_guest_bridge("veth1"));
  }
  // A length that is not true, in each place.
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char byte : {'\x00', '\x01', '\xff'}) {
      std::string bad = whole;
      bad[at] = byte;
      LinkTable links;
      (void)links.read(bad.data(), bad.size());
    }
  }
  LinkTable links;
  const std::string end = message(NLMSG_DONE, std::string(4, '\0'));
  CHECK_FALSE(links.read(end.data(), end.size()));
}

TEST_CASE("the kernel's own list is read") {
  const Namespace of_its_own;
  if (!of_its_own.entered()) {
    WARN("no network namespaces here");
    return;
  }
  shell("ip link add guests type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master guests");
  for (int i = 0; i < 40; ++i) shell("ip link add b" + std::to_string(i) + " type bridge");  // several parts
  const LinkTable links = LinkTable::of_this_machine();
  CHECK(links.is_guest_bridge("guests"));
  CHECK(links.is_guest_bridge("b39"));
  CHECK_FALSE(links.is_guest_bridge("v0"));
}
