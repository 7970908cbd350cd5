// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust_store.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

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

TEST_CASE("subjects are parsed by kind") {
  CHECK(TrustSubject::parse(TrustKind::kDevice, std::string(64, 'A'))->id() == std::string(64, 'a'));
  CHECK(TrustSubject::parse(TrustKind::kCa, std::string(40, 'A'))->kind() == TrustKind::kCa);
  CHECK(!TrustSubject::parse(TrustKind::kDevice, std::string(40, 'a')));
  CHECK(!TrustSubject::parse(TrustKind::kAccount, std::string(64, 'a')));
  CHECK(!TrustSubject::parse(TrustKind::kAccount, std::string(40, 'g')));
  CHECK(trust_kind_from("ca") == TrustKind::kCa);
  CHECK(!trust_kind_from("peer"));
}
