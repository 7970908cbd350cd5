// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/crl_store.h"

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
