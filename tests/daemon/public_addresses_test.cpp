// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/public_addresses.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

using Addresses = std::vector<std::string>;

TEST_CASE("the address with the most votes is first, and each is told once") {
  PublicAddresses addresses;
  CHECK(addresses.best().empty());
  addresses.told({"11.0.113.10"});
  CHECK(addresses.best() == Addresses{"11.0.113.10"});
  addresses.told({"11.0.113.10", "11.0.113.10", "2001:db8::10", "11.0.113.10"});
  CHECK(addresses.best() == Addresses{"11.0.113.10", "2001:db8::10"});
}

TEST_CASE("nodes that lie hide no address, and there are two of each family at most") {
  PublicAddresses addresses;
  addresses.told({"11.0.113.10", "6.6.6.6", "6.6.6.6", "6.6.6.6", "7.7.7.7"});
  CHECK(addresses.best() == Addresses{"11.0.113.10", "6.6.6.6"});
  // Behind a NAT that takes another port for each node, no pair of address and port has many votes.
  addresses.told({"6.6.6.6", "11.0.113.10", "11.0.113.10", "7.7.7.7", "11.0.113.10"});
  CHECK(addresses.best() == Addresses{"6.6.6.6", "11.0.113.10"});
  addresses.told({"fd00::1", "2001:db8::1", "2001:db8::1", "2001:db8::2"});
  CHECK(addresses.best() == Addresses{"fd00::1", "2001:db8::1"});
}

TEST_CASE("after a change of networks what is new is first, whatever votes the former one has") {
  PublicAddresses addresses;
  addresses.told({"11.0.113.10"});
  addresses.network_changed();
  CHECK(addresses.best() == Addresses{"11.0.113.10"});  // nobody has said anything else yet
  addresses.told({"11.0.113.10", "11.0.113.20"});
  CHECK(addresses.best() == Addresses{"11.0.113.20", "11.0.113.10"});
  addresses.told({"11.0.113.20", "11.0.113.10"});
  CHECK(addresses.best() == Addresses{"11.0.113.20", "11.0.113.10"});
}
