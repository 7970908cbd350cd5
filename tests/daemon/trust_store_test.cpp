// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/trust_store.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::AccountId;
using proto::DeviceId;

namespace {

DeviceId device(std::uint8_t n) {
  DeviceId id;
  id.bytes.fill(n);
  return id;
}
AccountId issuer(std::uint8_t n) {
  AccountId id;
  id.bytes.fill(n);
  return id;
}
const std::vector<AccountId> kChain{issuer(1), issuer(2)};  // account, CA

TrustStore opened(const std::string& path) {
  auto store = TrustStore::open(path);
  INFO((store ? "" : store.failure().text));
  REQUIRE(store);
  return *std::move(store);
}

std::string entry(const std::string& kind, const std::string& id, const std::string& state) {
  return R"({"kind":")" + kind + R"(","id":")" + id + R"(","state":")" + state + R"(","since":7})";
}

}  // namespace

TEST_CASE("trust goes unknown, allowed, unknown, banned, and survives each restart") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const TrustSubject subject(device(9));
  CHECK(opened(path).of(device(9)) == Trust::kUnknown);
  REQUIRE(opened(path).allow(subject, 100));
  CHECK(opened(path).of(device(9)) == Trust::kAllowed);
  const auto removed = opened(path).unset(subject);
  REQUIRE(removed);
  CHECK(*removed);
  CHECK(opened(path).of(device(9)) == Trust::kUnknown);
  REQUIRE(opened(path).ban(subject, 200));
  auto store = opened(path);
  CHECK(store.of(device(9)) == Trust::kBanned);
  REQUIRE(store.list().size() == 1);
  CHECK(store.list()[0].since_unix == 200);
  CHECK(store.list()[0].subject.id() == device(9).hex());
  CHECK(store.list()[0].state == Trust::kBanned);
  const auto again = store.unset(TrustSubject(device(8)));
  REQUIRE(again);
  CHECK(!*again);
  CHECK(mode_of(path) == 0600);
}

TEST_CASE("a ban at any level wins; an allowed device, account or CA is enough") {
  TempDir dir;
  auto store = opened(dir.file("trust.json"));
  const auto trust = [&] { return store.of(device(9), kChain); };
  const TrustSubject subjects[] = {
      TrustSubject(device(9)), {TrustKind::kAccount, issuer(1)}, {TrustKind::kCa, issuer(2)}};
  CHECK(trust() == Trust::kUnknown);
  for (const auto& allowed : subjects) {
    REQUIRE(store.allow(allowed, 1));
    CHECK(trust() == Trust::kAllowed);
    for (const auto& banned : subjects) {
      if (banned == allowed) continue;
      REQUIRE(store.ban(banned, 2));
      CHECK(trust() == Trust::kBanned);
      REQUIRE(store.unset(banned));
      CHECK(trust() == Trust::kAllowed);
    }
    REQUIRE(store.unset(allowed));
    CHECK(trust() == Trust::kUnknown);
  }
}

TEST_CASE("an account's entry is for its own devices, a ban for all below") {
  TempDir dir;
  auto store = opened(dir.file("trust.json"));
  // issuer(2) is above the account: allowing it as an account is not allowing it as a CA.
  REQUIRE(store.allow({TrustKind::kAccount, issuer(2)}, 1));
  CHECK(store.of(device(9), kChain) == Trust::kUnknown);
  REQUIRE(store.ban({TrustKind::kAccount, issuer(2)}, 1));
  CHECK(store.of(device(9), kChain) == Trust::kBanned);
  REQUIRE(store.unset({TrustKind::kAccount, issuer(2)}));
  // A self-signed account is its own CA.
  REQUIRE(store.allow({TrustKind::kCa, issuer(1)}, 1));
  CHECK(store.of(device(9), kChain) == Trust::kAllowed);
  // Banning one device affects it alone.
  REQUIRE(store.ban(TrustSubject(device(8)), 1));
  CHECK(store.of(device(9), kChain) == Trust::kAllowed);
  CHECK(store.of(device(8), kChain) == Trust::kBanned);
}

TEST_CASE("a chain matters only while an account or a CA has an entry") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  auto store = opened(path);
  REQUIRE(store.allow(TrustSubject(device(1)), 1));
  CHECK(!store.has_chain_entries());
  REQUIRE(store.ban({TrustKind::kAccount, issuer(1)}, 1));
  REQUIRE(store.allow({TrustKind::kAccount, issuer(1)}, 1));
  REQUIRE(store.allow({TrustKind::kCa, issuer(1)}, 1));
  CHECK(store.has_chain_entries());
  CHECK(opened(path).has_chain_entries());
  REQUIRE(store.unset({TrustKind::kAccount, issuer(1)}));
  CHECK(store.has_chain_entries());
  REQUIRE(store.unset({TrustKind::kCa, issuer(1)}));
  CHECK(!store.has_chain_entries());
}

TEST_CASE("a write that fails changes nothing, in memory or on disk") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  auto store = opened(path);
  REQUIRE(store.allow(TrustSubject(device(1)), 5));
  {
    const FileSizeLimit limit(16);
    CHECK(!store.allow(TrustSubject(device(2)), 6));
    CHECK(!store.ban(TrustSubject(device(1)), 6));
    CHECK(!store.allow({TrustKind::kCa, issuer(1)}, 6));
    CHECK(!store.unset(TrustSubject(device(1))));
    CHECK(store.allow(TrustSubject(device(1)), 6));  // is allowed: nothing to write
  }
  for (const TrustStore& one : {store, opened(path)}) {
    REQUIRE(one.size() == 1);
    CHECK(one.of(device(1)) == Trust::kAllowed);
    CHECK(one.list()[0].since_unix == 5);
    CHECK(!one.has_chain_entries());
  }
}

TEST_CASE("a file that is not understood stops the start, whatever is wrong with it") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const std::string id(64, 'a');
  const std::string good = entry("device", id, "banned");
  const auto document = [](const std::string& entries) { return R"({"v":1,"entries":[)" + entries + "]}"; };

  write_file(path, document(good));
  CHECK(opened(path).size() == 1);
  // Every truncation.
  const std::string whole = document(good);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write_file(path, whole.substr(0, n));
    const auto store = TrustStore::open(path);
    INFO(n);
    REQUIRE(!store);
    CHECK(store.failure().text.find(path) == 0);
  }
  const std::string bad[] = {"[]",
                             "null",
                             R"({"v":2,"entries":[]})",
                             R"({"v":"1","entries":[]})",
                             R"({"entries":[]})",
                             R"({"v":1})",
                             R"({"v":1,"entries":{}})",
                             R"({"v":1,"entries":[],"more":1})",
                             document("1"),
                             document(entry("peer", id, "banned")),
                             document(entry("device", id.substr(1), "banned")),
                             document(entry("account", id, "banned")),
                             document(entry("device", id, "unknown")),
                             document(R"({"kind":"device","id":")" + id + R"(","state":"banned","since":"7"})"),
                             document(R"({"kind":1,"id":")" + id + R"(","state":"banned","since":7})"),
                             document(good + "," + good),
                             std::string("\xff\xfe")};
  for (const std::string& text : bad) {
    write_file(path, text);
    INFO(text);
    const auto store = TrustStore::open(path);
    REQUIRE(!store);
    CHECK(store.failure().text.find(path) == 0);
    CHECK(store.failure().text.find('\n') == std::string::npos);
    CHECK(read_file(path) == text);
  }
  REQUIRE(!TrustStore::open(dir.path()));
}

TEST_CASE("100,000 entries fit, one more does not") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  std::string text = R"({"v":1,"entries":[)";
  for (std::size_t i = 0; i < TrustStore::kMaxEntries; ++i) {
    const std::string number = std::to_string(i);
    text += (i > 0 ? "," : "") + entry("device", std::string(64 - number.size(), '0') + number, "allowed");
  }
  write_file(path, text + "]}");
  auto store = opened(path);
  CHECK(store.size() == TrustStore::kMaxEntries);
  const auto full = store.allow(TrustSubject(device(0xff)), 1);
  REQUIRE(!full);
  CHECK(full.failure().code == std::errc::no_buffer_space);
  CHECK(store.of(device(0xff)) == Trust::kUnknown);
  REQUIRE(store.ban(store.list()[0].subject, 1));
  CHECK(opened(path).size() == TrustStore::kMaxEntries);

  write_file(path, text + "," + entry("ca", std::string(40, 'b'), "allowed") + "]}");
  CHECK(!TrustStore::open(path));
}

TEST_CASE("a list goes by kind and id, from any entry on, whether that is still there or not") {
  TempDir dir;
  auto store = opened(dir.file("trust.json"));
  const std::vector<TrustSubject> order{TrustSubject(device(2)), TrustSubject(device(9)),
                                        TrustSubject(TrustKind::kAccount, issuer(1)),
                                        TrustSubject(TrustKind::kCa, issuer(0))};
  for (const std::size_t i : {3u, 1u, 0u, 2u}) REQUIRE(store.allow(order[i], 1));
  const auto subjects = [&](const std::optional<TrustSubject>& after, std::size_t most) {
    std::vector<TrustSubject> out;
    for (const TrustEntry& entry : store.list(after, most)) out.push_back(entry.subject);
    return out;
  };
  CHECK(subjects({}, 9) == order);
  CHECK(subjects({}, 2) == std::vector(order.begin(), order.begin() + 2));
  CHECK(subjects(order[1], 9) == std::vector(order.begin() + 2, order.end()));
  CHECK(subjects(TrustSubject(device(3)), 2) == std::vector(order.begin() + 1, order.begin() + 3));
  CHECK(subjects(order[3], 9).empty());
  REQUIRE(store.unset(order[1]));
  CHECK(subjects(order[1], 9) == std::vector(order.begin() + 2, order.end()));
}

TEST_CASE("subjects are parsed by kind") {
  CHECK(TrustSubject::parse(TrustKind::kDevice, std::string(64, 'A'))->id() == std::string(64, 'a'));
  CHECK(TrustSubject::parse(TrustKind::kCa, std::string(40, 'A'))->kind() == TrustKind::kCa);
  CHECK(!TrustSubject::parse(TrustKind::kDevice, std::string(40, 'a')));
  CHECK(!TrustSubject::parse(TrustKind::kAccount, std::string(64, 'a')));
  CHECK(!TrustSubject::parse(TrustKind::kAccount, std::string(40, 'g')));
  CHECK(trust_kind_from("ca") == TrustKind::kCa);
  CHECK(!trust_kind_from("peer"));
}

TEST_CASE("fault B1: a ban of 40 digits means whatever has that id, as whichever kind it is stored") {
  const auto& chain = alice_chain();
  AccountId short_id;
  short_id.bytes = chain.short_device_id().bytes;
  for (const TrustKind kind : {TrustKind::kAccount, TrustKind::kCa}) {
    for (const AccountId& id : {short_id, chain.account_id(), chain.ca_id()}) {
      TempDir dir;
      auto store = opened(dir.file("trust.json"));
      for (const TrustSubject& allowed :
           {TrustSubject(chain.device_id()), TrustSubject(TrustKind::kCa, chain.ca_id())}) {
        if (allowed != TrustSubject(kind, id)) REQUIRE(store.allow(allowed, 1));
      }
      REQUIRE(store.ban({kind, id}, 2));
      CHECK(store.of(chain) == Trust::kBanned);
      CHECK(opened(dir.file("trust.json")).of(chain) == Trust::kBanned);
      // By the key alone, before there is a chain, a device's own id is seen.
      const bool by_key = store.of(chain.device_id(), {}, chain.short_device_id()) == Trust::kBanned;
      CHECK(by_key == (id == short_id));
      CHECK(store.of(bob_chain()) == (id == short_id ? Trust::kAllowed : Trust::kBanned));
      REQUIRE(store.unset({kind, id}));
      CHECK(store.of(chain) == Trust::kAllowed);
    }
  }
}

TEST_CASE("fault B2: what an allowed device was when it was met is remembered, and a ban of that means it") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const auto& first = alice_chain();
  const auto other = chain({device_spec(0), issuer_spec(4)});  // self-made, of the same key
  REQUIRE(opened(path).allow(TrustSubject(first.device_id()), 5));
  CHECK(opened(path).list()[0].first_met == std::nullopt);
  REQUIRE(opened(path).remember(first));
  REQUIRE(opened(path).remember(other));  // the first is what counts
  auto store = opened(path);
  REQUIRE(store.list()[0].first_met == FirstMet::of(first));
  CHECK(store.list()[0].since_unix == 5);
  REQUIRE(store.remember(bob_chain()));  // no entry, nothing to remember
  CHECK(store.size() == 1);
  for (const AccountId& id : {first.account_id(), first.ca_id()}) {
    REQUIRE(store.ban({TrustKind::kAccount, id}, 6));
    CHECK(store.of(other) == Trust::kBanned);
    CHECK(store.of(first.device_id()) == Trust::kBanned);
    CHECK(opened(path).list().back().state == Trust::kBanned);
    bool named = false;
    for (const TrustEntry& entry : store.list()) named = named || entry.banned_by == id;
    CHECK(named);
    REQUIRE(store.unset({TrustKind::kAccount, id}));
    CHECK(store.of(other) == Trust::kAllowed);
  }
  // Banned and allowed again it is the same device; unset, it is forgotten.
  REQUIRE(store.ban(TrustSubject(first.device_id()), 7));
  REQUIRE(store.allow(TrustSubject(first.device_id()), 8));
  CHECK(store.list()[0].first_met == FirstMet::of(first));
  REQUIRE(store.unset(TrustSubject(first.device_id())));
  REQUIRE(store.allow(TrustSubject(first.device_id()), 9));
  REQUIRE(store.remember(other));
  CHECK(store.list()[0].first_met == FirstMet::of(other));
}

TEST_CASE("fault B2: what is remembered and not understood stops the start") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const std::string id(64, 'a');
  const std::string good =
      R"({"short":")" + std::string(40, 'b') + R"(","issuers":[")" + std::string(40, 'c') + R"("]})";
  const auto document = [&](const std::string& kind, const std::string& named, const std::string& met) {
    return R"({"v":1,"entries":[{"kind":")" + kind + R"(","id":")" + named + R"(","state":"allowed","since":7,"met":)" +
           met + "}]}";
  };
  write_file(path, document("device", id, good));
  CHECK(opened(path).list()[0].first_met->issuers.size() == 1);
  for (const std::string& bad : {std::string("1"), std::string("{}"), R"({"short":"b","issuers":[]})" + std::string(),
                                 R"({"short":")" + std::string(40, 'b') + R"(","issuers":[1]})",
                                 R"({"short":")" + std::string(40, 'b') + R"(","issuers":["cc"]})"}) {
    INFO(bad);
    write_file(path, document("device", id, bad));
    CHECK(!TrustStore::open(path));
  }
  write_file(path, document("account", std::string(40, 'a'), good));
  CHECK(!TrustStore::open(path));
}

TEST_CASE("fault B6: the most specific entry's scope counts alone, and survives a restart") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const auto& alice = alice_chain();
  const auto scope = [](const std::string& uri) { return *TrustScope::of({{uri, true}}); };
  const TrustSubject device(alice.device_id());
  const TrustSubject account(TrustKind::kAccount, alice.account_id());
  const TrustSubject ca(TrustKind::kCa, alice.ca_id());
  REQUIRE(opened(path).allow(ca, 1));
  CHECK(opened(path).scope_of(alice).is_everything());
  REQUIRE(opened(path).allow(account, 1, scope("account")));
  CHECK(opened(path).scope_of(alice) == scope("account"));
  REQUIRE(opened(path).allow(device, 1, scope("device")));
  auto store = opened(path);
  CHECK(store.scope_of(alice) == scope("device"));
  CHECK(store.scope_of(bob_chain()) == scope("account"));
  CHECK(store.of(alice) == Trust::kAllowed);
  // Another scope is a change, the same is none.
  REQUIRE(store.allow(device, 2, scope("device")));
  CHECK(store.list()[0].since_unix == 1);
  REQUIRE(store.allow(device, 3));
  CHECK(store.list()[0].since_unix == 3);
  CHECK(opened(path).scope_of(alice).is_everything());
  // A ban has none, and comes first.
  REQUIRE(store.allow(device, 3, scope("device")));
  REQUIRE(store.ban(account, 4));
  CHECK(opened(path).of(alice) == Trust::kBanned);
  REQUIRE(store.allow(account, 4));
  REQUIRE(store.unset(device));
  CHECK(opened(path).scope_of(alice).is_everything());
}

TEST_CASE("fault B6: a scope on the disk that is not understood stops the start") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const auto document = [](const std::string& state, const std::string& scope) {
    return R"({"v":1,"entries":[{"kind":"device","id":")" + std::string(64, 'a') + R"(","state":")" + state +
           R"(","since":7,"scope":)" + scope + "}]}";
  };
  const std::string good = R"([{"uri":"x","prefix":false}])";
  write_file(path, document("allowed", good));
  CHECK(opened(path).list()[0].scope.covers("x"));
  for (const char* bad : {"[]", "{}", "null", R"(["x"])", R"([{"uri":"x"}])", R"([{"uri":1,"prefix":true}])",
                          R"([{"uri":"jc:","prefix":true}])", R"([{"uri":"x","prefix":true,"more":1}])"}) {
    INFO(bad);
    write_file(path, document("allowed", bad));
    CHECK(!TrustStore::open(path));
  }
  write_file(path, document("banned", good));
  CHECK(!TrustStore::open(path));
}

TEST_CASE("compat: what a newer version has added to an entry is kept, and what it allows lets nobody in") {
  TempDir dir;
  const std::string path = dir.file("trust.json");
  const auto of = [](char digit, const char* state, const std::string& more) {
    return R"({"kind":"device","id":")" + std::string(64, digit) + R"(","state":")" + state + R"(","since":7,)" + more +
           "}";
  };
  const std::string until = R"("until":9)";
  const std::string met = R"("met":{"short":")" + std::string(40, 'b') + R"(","issuers":[],"seen":1})";
  write_file(path, R"({"v":1,"entries":[)" + of('a', "allowed", until) + "," + of('b', "banned", until) + "," +
                       of('c', "allowed", met) + "]}");
  const auto id = [](char digit) { return *DeviceId::from_hex(std::string(64, digit)); };
  for (int start = 0; start < 2; ++start) {
    auto store = opened(path);
    CHECK(store.size() == 3 + static_cast<std::size_t>(start));
    CHECK(store.of(id('a')) == Trust::kUnknown);
    CHECK(store.of(id('b')) == Trust::kBanned);
    CHECK(store.of(id('c')) == Trust::kUnknown);
    REQUIRE(store.allow(TrustSubject(device(static_cast<std::uint8_t>(start))), 8));  // written anew
    const std::string text = read_file(path);
    CHECK(text.find(until) != std::string::npos);
    CHECK(text.find(R"("seen":1)") != std::string::npos);
  }
  // Said again, here, it is this version's.
  auto store = opened(path);
  REQUIRE(store.allow(TrustSubject(id('a')), 10));
  CHECK(opened(path).of(id('a')) == Trust::kAllowed);
  // More beside the entries is not understood at all: nothing is read, and nothing written.
  write_file(path, R"({"v":1,"entries":[],"groups":[]})");
  const auto newer = TrustStore::open(path);
  REQUIRE(!newer.ok());
  CHECK(newer.failure().text.find("has 'groups', which this jami-connd does not know") != std::string::npos);
}
