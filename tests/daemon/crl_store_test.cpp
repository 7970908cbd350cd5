// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/crl_store.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

CrlStore opened(const std::string& path) {
  auto store = CrlStore::open(path);
  REQUIRE(store.ok());
  return *std::move(store);
}

bool alice_is_revoked(const CrlStore& store) {
  return store.is_revoked(*alice_chain().certificate(0), *alice_chain().certificate(1));
}

}  // namespace

TEST_CASE("lists are on disk when they are added, and gone when they are removed") {
  const TempDir dir;
  const std::string path = dir.file("crls");
  CrlStore store = opened(path);
  CHECK_FALSE(alice_is_revoked(store));
  const auto first = store.add(crl_pem(1, {1}));
  REQUIRE(first.ok());
  CHECK_FALSE(alice_is_revoked(store));
  const auto second = store.add(crl_pem(1, {7}));
  REQUIRE(second.ok());
  CHECK(*store.add(crl_pem(1, {1})) == *first);
  CHECK(store.list().size() == 2);
  CHECK(alice_is_revoked(store));

  CrlStore again = opened(path);
  CHECK(again.list().size() == 2);
  CHECK(alice_is_revoked(again));
  CHECK(*again.remove(*second));
  CHECK_FALSE(*again.remove(*second));
  CHECK_FALSE(alice_is_revoked(again));
  CHECK(opened(path).list().size() == 1);
}

TEST_CASE("what is no list is refused, and changes nothing") {
  const TempDir dir;
  CrlStore store = opened(dir.file("crls"));
  for (const std::string& bad : {std::string(), std::string("junk"), alice_chain().pem(), crl_pem(1, {7}, true)}) {
    const auto added = store.add(bad);
    REQUIRE_FALSE(added.ok());
    CHECK(added.failure().code == std::errc::invalid_argument);
  }
  CHECK(store.list().empty());
}

TEST_CASE("a damaged list stops the start: a revocation is never dropped silently") {
  const TempDir dir;
  const std::string path = dir.file("crls");
  const auto id = opened(path).add(crl_pem(1, {7}));
  REQUIRE(id.ok());
  write_file(path + "/" + *id + ".crl", "junk");
  const auto store = CrlStore::open(path);
  REQUIRE_FALSE(store.ok());
  CHECK(store.failure().text.find(*id) != std::string::npos);
}

TEST_CASE("fault B7: of an issuer's lists from anywhere only a newer one that it has signed is learnt") {
  TempDir dir;
  auto store = CrlStore::open(dir.file("crls"));
  REQUIRE(store);
  const X509& account = *alice_chain().certificate(1);
  using proto::RevocationList;
  const auto first = *RevocationList::issue(key_pem(1), account, nullptr, {}, kNow);
  const auto second = *RevocationList::issue(key_pem(1), account, &first, {alice_chain().certificate(0)}, kNow);
  // Below nothing, with the greater number: another one of the same, which has less.
  const auto third = *RevocationList::issue(key_pem(1), account, &second, {}, kNow);
  const auto forged = *RevocationList::issue(key_pem(2), *alice_chain().certificate(2), nullptr, {}, kNow);
  CHECK_FALSE(*store->learn(forged, account));
  CHECK_FALSE(*store->learn(*RevocationList::from_pem(crl_pem(1, {7})), account));  // without a number
  CHECK(*store->learn(second, account));
  CHECK_FALSE(*store->learn(second, account));
  CHECK_FALSE(*store->learn(first, account));  // never back
  CHECK(store->is_revoked(*alice_chain().certificate(0), account));
  CHECK(*store->learn(third, account));
  CHECK(store->list().size() == 1);  // it has all that the one before had
  CHECK(store->newest_of(account)->number() == 3);
  CHECK(store->is_revoked(*alice_chain().certificate(0), account));
  CHECK(CrlStore::open(dir.file("crls"))->newest_of(account)->number() == 3);
}

TEST_CASE("fault B7: an issuer none of whose lists has all of another has few of them, and keeps no other out") {
  TempDir dir;
  auto store = CrlStore::open(dir.file("crls"));
  REQUIRE(store);
  using proto::RevocationList;
  const X509& account = *alice_chain().certificate(1);
  std::optional<RevocationList> former;
  for (std::size_t i = 0; i < CrlStore::kMaxLearntOfIssuer; ++i) {
    // Each has one that no other has, and a greater number.
    auto numbered = *RevocationList::from_pem(crl_pem(1, {static_cast<long>(100 + i)}));
    for (std::size_t n = 0; n <= i; ++n) numbered = *RevocationList::issue(key_pem(1), account, &numbered, {}, kNow);
    CHECK(*store->learn(numbered, account));
    former = std::move(numbered);
  }
  const auto one_more = *RevocationList::issue(key_pem(1), account, &*former, {}, kNow);  // it has the last one's
  CHECK(*store->learn(one_more, account));
  CHECK(store->list().size() == CrlStore::kMaxLearntOfIssuer);
  auto more = *RevocationList::from_pem(crl_pem(1, {7}));
  for (std::size_t n = 0; n < 20; ++n) more = *RevocationList::issue(key_pem(1), account, &more, {}, kNow);
  const auto refused = store->learn(more, account);
  REQUIRE(!refused.ok());
  CHECK(refused.failure().code == std::errc::file_too_large);
  CHECK(store->list().size() == CrlStore::kMaxLearntOfIssuer);
  CHECK(*store->learn(*RevocationList::issue(key_pem(2), *alice_chain().certificate(2), nullptr, {}, kNow),
                      *alice_chain().certificate(2)));
}

TEST_CASE("fault B7: whose a list is is looked at for each key, and again when the list comes anew") {
  TempDir dir;
  auto store = CrlStore::open(dir.file("crls"));
  REQUIRE(store);
  const auto impostor = chain({device_spec(0), issuer_spec(4)});
  const std::string pem = crl_pem(1, {7});
  for (int i = 0; i < 2; ++i) {
    const auto id = store->add(pem);
    REQUIRE(id);
    for (int again = 0; again < 2; ++again) {
      CHECK(alice_is_revoked(*store));
      CHECK_FALSE(store->is_revoked(*impostor.certificate(0), *impostor.certificate(1)));
    }
    REQUIRE(*store->remove(*id));
    CHECK_FALSE(alice_is_revoked(*store));
  }
}
