// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/listener_table.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

Listener listener(ClientNumber client, std::string uri, bool prefix, uid_t uid = 1000) {
  Listener l;
  l.client = client;
  l.owner.uid = uid;
  l.owner.gid = uid;
  l.uri = std::move(uri);
  l.prefix = prefix;
  return l;
}

/// The listener's uri, with a '*' for a prefix; "-" for nobody.
std::string matched(const ListenerTable& table, std::string_view uri) {
  const Listener* found = table.match(uri);
  if (found == nullptr) return "-";
  return found->uri + (found->prefix ? "*" : "");
}

}  // namespace

TEST_CASE("an exact name wins over prefixes, a longer prefix over a shorter one") {
  ListenerTable table;
  CHECK(matched(table, "file://a") == "-");
  for (const char* prefix : {"file://", "file://a", "file://ab", "file://b", "fil", "git"}) {
    REQUIRE(std::holds_alternative<ListenerNumber>(table.add(listener(1, prefix, true))));
  }
  REQUIRE(std::holds_alternative<ListenerNumber>(table.add(listener(1, "file://a", false))));
  CHECK(matched(table, "file://a") == "file://a");
  CHECK(matched(table, "file://aa") == "file://a*");
  CHECK(matched(table, "file://ab") == "file://ab*");
  CHECK(matched(table, "file://abc") == "file://ab*");
  CHECK(matched(table, "file://c") == "file://*");
  CHECK(matched(table, "file:/") == "fil*");
  CHECK(matched(table, "fi") == "-");
  CHECK(matched(table, "zzz") == "-");
  CHECK(matched(table, "") == "-");
  REQUIRE(std::holds_alternative<ListenerNumber>(table.add(listener(1, "", true))));
  CHECK(matched(table, "fi") == "*");
  CHECK(matched(table, "") == "*");
  CHECK(matched(table, std::string("\0x", 2)) == "*");
}

TEST_CASE("matching agrees with looking at every prefix") {
  // Deep chains and near misses, which a search among sorted names could get wrong.
  ListenerTable table;
  std::vector<std::string> prefixes;
  std::uint32_t state = 1;
  const auto next = [&] { return state = state * 1'664'525U + 1'013'904'223U; };
  const auto name = [&] {
    std::string out;
    for (std::uint32_t n = (next() >> 16) % 7; n > 0; --n) out += static_cast<char>('a' + (next() >> 16) % 2);
    return out;
  };
  for (int i = 0; i < 40; ++i) {
    const std::string prefix = name();
    if (std::holds_alternative<ListenerNumber>(table.add(listener(1, prefix, true)))) prefixes.push_back(prefix);
  }
  for (int i = 0; i < 2'000; ++i) {
    const std::string uri = name() + name();
    std::string expected = "-";
    for (const std::string& prefix : prefixes) {
      const bool longer = expected == "-" || prefix.size() + 1 > expected.size();
      if (uri.starts_with(prefix) && longer) expected = prefix + "*";
    }
    CHECK(matched(table, uri) == expected);
  }
}

TEST_CASE("a taken name names its owner, and is free again afterwards") {
  ListenerTable table;
  const auto first = table.add(listener(1, "a", false, 1001));
  REQUIRE(std::holds_alternative<ListenerNumber>(first));
  const auto second = table.add(listener(2, "a", false, 1002));
  REQUIRE(std::holds_alternative<ListenerTable::Taken>(second));
  CHECK(std::get<ListenerTable::Taken>(second).owner == 1001);
  CHECK(std::holds_alternative<ListenerNumber>(table.add(listener(2, "a", true, 1002))));
  CHECK(table.remove(std::get<ListenerNumber>(first)));
  CHECK_FALSE(table.remove(std::get<ListenerNumber>(first)));
  const auto third = table.add(listener(2, "a", false));
  REQUIRE(std::holds_alternative<ListenerNumber>(third));
  CHECK(std::get<ListenerNumber>(third) > std::get<ListenerNumber>(first));
  CHECK_FALSE(table.remove_client(2, 1));
  CHECK(table.size() == 1);
  CHECK(table.remove_client(2, 9));
  CHECK(table.size() == 0);
  CHECK(matched(table, "a") == "-");
}

TEST_CASE("listeners are bounded, by client, in all, and by the bytes of their names") {
  ListenerTable table({.per_client = 2, .in_all = 3, .name_bytes = 100});
  const auto refused = [&](Listener l) {
    const auto added = table.add(std::move(l));
    const auto* refusal = std::get_if<ListenerTable::Refusal>(&added);
    return refusal != nullptr && *refusal == ListenerTable::Refusal::kTooMany;
  };
  CHECK_FALSE(refused(listener(1, "a", false)));
  CHECK_FALSE(refused(listener(1, "b", false)));
  CHECK(refused(listener(1, "c", false)));
  CHECK(refused(listener(2, std::string(99, 'x'), false)));
  CHECK_FALSE(refused(listener(2, std::string(98, 'x'), false)));
  CHECK(table.remove_client(2, 9));
  CHECK_FALSE(refused(listener(2, "d", false)));
  CHECK(refused(listener(3, "e", false)));
  CHECK(table.remove(table.match("a")->number));
  CHECK_FALSE(refused(listener(1, "c", false)));
}

TEST_CASE("a reserved prefix is kept from others, also by shorter prefixes of theirs") {
  ListenerTable table({}, {{"sys://", 500, std::nullopt}, {"sys://web/", std::nullopt, 33}});
  const auto refused = [&](const Listener& l) {
    const auto added = table.add(l);
    const auto* refusal = std::get_if<ListenerTable::Refusal>(&added);
    return refusal != nullptr && *refusal == ListenerTable::Refusal::kReserved;
  };
  CHECK(refused(listener(1, "sys://a", false, 1000)));
  CHECK(refused(listener(1, "sys://web/x", true, 500)));
  CHECK_FALSE(refused(listener(2, "sys://a", false, 500)));
  Listener web = listener(3, "sys://web/x", true, 1000);
  web.owner.groups = {33};
  CHECK_FALSE(refused(web));
  CHECK_FALSE(refused(listener(1, "sys:", true, 1000)));
  CHECK(matched(table, "sys:other") == "sys:*");
  CHECK(matched(table, "sys://b") == "-");
  CHECK(matched(table, "sys://web/x1") == "sys://web/x*");
  CHECK_FALSE(refused(listener(4, "sy", true, 0)));
  CHECK(matched(table, "sys://b") == "sy*");
}

TEST_CASE("reservations of one prefix add up, and new ones hold for listeners that there are") {
  ListenerTable table({}, {{"a", 500, std::nullopt}, {"a", std::nullopt, 33}});
  table.add(listener(1, "a1", false, 500));
  Listener member = listener(2, "a2", false, 1000);
  member.owner.groups = {33};
  table.add(member);
  CHECK(matched(table, "a1") == "a1");
  CHECK(matched(table, "a2") == "a2");
  table.set_reservations({{"a1", 501, std::nullopt}});
  CHECK(matched(table, "a1") == "-");
  CHECK(matched(table, "a2") == "a2");
  table.set_reservations({});
  CHECK(matched(table, "a1") == "a1");
}

TEST_CASE("a listener takes allowed peers, all, or these") {
  Listener l = listener(1, "a", false);
  proto::DeviceId alice, bob;
  alice.bytes[0] = 1;
  bob.bytes[0] = 2;
  CHECK_FALSE(l.takes_unknown(alice));
  l.peers = {alice};
  CHECK(l.takes_unknown(alice));
  CHECK_FALSE(l.takes_unknown(bob));
  l.any_peer = true;
  CHECK(l.takes_unknown(bob));
}

TEST_CASE("fault B6: a listener that names its peers is for nobody else") {
  const auto device = [](std::uint8_t n) {
    proto::DeviceId id;
    id.bytes.fill(n);
    return id;
  };
  const auto account = [](std::uint8_t n) {
    proto::AccountId id;
    id.bytes.fill(n);
    return id;
  };
  Listener listener;
  CHECK(listener.is_for(device(1), account(1)));
  listener.only_devices = {device(1)};
  CHECK(listener.is_for(device(1), account(9)));
  CHECK_FALSE(listener.is_for(device(2), account(1)));
  listener.only_accounts = {account(3)};
  CHECK(listener.is_for(device(1), account(9)));
  CHECK(listener.is_for(device(2), account(3)));
  CHECK_FALSE(listener.is_for(device(2), account(4)));
}
