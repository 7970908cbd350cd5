// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/certificate_store.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::CertificateChain;

namespace {

CertificateStore opened(const std::string& path, std::size_t max = CertificateStore::kMaxChains) {
  auto store = CertificateStore::open(path, max);
  REQUIRE(store);
  return *std::move(store);
}

// Chains of three devices, with the program's keys 0, 3 and 4.
std::vector<CertificateChain> chains() {
  return {alice_chain(), bob_chain(), chain({device_spec(4), issuer_spec(1), issuer_spec(2)})};
}

bool holds(CertificateStore& store, const CertificateChain& chain) {
  const auto found = store.find(chain.device_id());
  return found && *found && **found == chain;
}

std::string file_of(const TempDir& dir, const CertificateChain& chain) {
  return dir.file("certificates/" + chain.device_id().hex() + "." + chain.short_device_id().hex() + ".tls");
}

void set_age(const std::string& path, long seconds_since_1970) {
  const timespec times[2] = {{seconds_since_1970, 0}, {seconds_since_1970, 0}};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("a chain is found again, byte by byte, also after a restart") {
  TempDir dir;
  const std::string path = dir.file("certificates");
  const auto all = chains();
  {
    auto store = opened(path);
    const auto none = store.find(all[0].device_id());
    REQUIRE(none);
    CHECK(!*none);
    REQUIRE(store.put(all[0]));
    REQUIRE(store.put(all[1]));
    CHECK(holds(store, all[0]));
  }
  CHECK(mode_of(path) == 0700);
  CHECK(mode_of(file_of(dir, all[0])) == 0600);
  auto store = opened(path);
  CHECK(store.size() == 2);
  CHECK(holds(store, all[0]));
  CHECK(holds(store, all[1]));
  CHECK(!store.contains(all[2].device_id()));
  REQUIRE(store.put(all[0]));
  CHECK(store.size() == 2);
}

TEST_CASE("the least recently used chain goes first, now and after a restart") {
  TempDir dir;
  const std::string path = dir.file("certificates");
  const auto all = chains();
  {
    auto store = opened(path, 2);
    REQUIRE(store.put(all[0]));
    REQUIRE(store.put(all[1]));
    CHECK(holds(store, all[0]));
    REQUIRE(store.put(all[2]));
    CHECK(store.size() == 2);
    CHECK(store.contains(all[0].device_id()));
    CHECK(!store.contains(all[1].device_id()));
    CHECK(dir.names("certificates").size() == 2);
  }
  set_age(file_of(dir, all[0]), 1000);
  set_age(file_of(dir, all[2]), 2000);
  {
    // Finding one makes it the newest, on disk too.
    auto store = opened(path, 2);
    CHECK(holds(store, all[0]));
  }
  auto store = opened(path, 1);
  CHECK(store.size() == 1);
  CHECK(holds(store, all[0]));
  CHECK(dir.names("certificates").size() == 1);
}

TEST_CASE("fault D1: what is in memory is bounded in bytes too, now and after a restart") {
  TempDir dir;
  const std::string path = dir.file("certificates");
  const auto all = chains();
  const std::size_t room = all[1].der().size() + all[2].der().size();
  auto store = CertificateStore::open(path, CertificateStore::kMaxChains, room);
  REQUIRE(store);
  for (const auto& chain : all) REQUIRE(store->put(chain));
  CHECK(!store->contains(all[0].device_id()));
  CHECK(store->size() == 2);
  REQUIRE(store->put(all[1]));  // again: in place of itself
  CHECK(store->size() == 2);
  CHECK(dir.names("certificates").size() == 2);
  set_age(file_of(dir, all[2]), 1000);
  auto again = CertificateStore::open(path, CertificateStore::kMaxChains, room - 1);
  REQUIRE(again);
  CHECK(again->devices() == std::vector{all[1].device_id()});
}

TEST_CASE("a damaged or exchanged file is reported, removed, and never taken for the device's") {
  TempDir dir;
  const auto all = chains();
  const std::string path = file_of(dir, all[0]);
  const std::string der(proto::as_text(all[0].der()));
  const std::string other(proto::as_text(all[1].der()));
  for (const std::string& text : {std::string(), der.substr(0, der.size() - 1), der + "x", other,
                                  std::string(CertificateChain::kMaxDerBytes + 1, '0')}) {
    opened(dir.file("certificates"));
    write_file(path, text);
    auto store = opened(dir.file("certificates"));
    REQUIRE(store.contains(all[0].device_id()));
    const auto found = store.find(all[0].device_id());
    REQUIRE(!found);
    CHECK(found.failure().text.find(path) == 0);
    CHECK(!store.contains(all[0].device_id()));
    CHECK(dir.names("certificates").empty());
    REQUIRE(store.put(all[0]));
    CHECK(holds(store, all[0]));
  }
}

TEST_CASE("a file that vanished is missed at the next start; foreign files are left alone; leftovers go") {
  TempDir dir;
  const auto all = chains();
  auto store = opened(dir.file("certificates"));
  REQUIRE(store.put(all[0]));
  REQUIRE(unlink(file_of(dir, all[0]).c_str()) == 0);
  CHECK(holds(store, all[0]));
  auto later = opened(dir.file("certificates"));
  const auto found = later.find(all[0].device_id());
  REQUIRE(found);
  CHECK(!*found);
  CHECK(later.size() == 0);

  write_file(dir.file("certificates/README"), "mine");
  write_file(dir.file("certificates/" + std::string(64, 'A') + ".tls"), "upper case: not our name");
  write_file(dir.file("certificates/x.der.tmp-abcdef"), "half");
  CHECK(opened(dir.file("certificates")).size() == 0);
  CHECK(dir.names("certificates").size() == 2);
}

TEST_CASE("fault J3: a device that was met is known by its short id, after a restart too, until it is forgotten") {
  TempDir dir;
  const std::string path = dir.file("certificates");
  const auto all = chains();
  {
    auto store = opened(path);
    REQUIRE(store.put(all[0]));
    REQUIRE(store.put(all[1]));
    CHECK(store.device_of(all[0].short_device_id()) == all[0].device_id());
  }
  auto store = opened(path, 2);
  CHECK(store.device_of(all[0].short_device_id()) == all[0].device_id());
  CHECK(store.device_of(all[1].short_device_id()) == all[1].device_id());
  CHECK(!store.device_of(all[2].short_device_id()));
  CHECK(holds(store, all[1]));
  REQUIRE(store.put(all[2]));
  CHECK(!store.device_of(all[0].short_device_id()));
  CHECK(store.device_of(all[2].short_device_id()) == all[2].device_id());
}

TEST_CASE("fault J3: what a former version stored under the long id alone has its short id from now on") {
  TempDir dir;
  const std::string path = dir.file("certificates");
  const auto all = chains();
  opened(path);
  const std::string former = dir.file("certificates/" + all[0].device_id().hex() + ".tls");
  const std::string der(proto::as_text(all[0].der()));
  write_file(former, der);
  set_age(former, 1000);
  write_file(dir.file("certificates/" + all[1].device_id().hex() + ".tls"), der);  // not that device's
  {
    auto store = opened(path);
    CHECK(store.size() == 1);
    CHECK(store.device_of(all[0].short_device_id()) == all[0].device_id());
    CHECK(holds(store, all[0]));
  }
  CHECK(dir.names("certificates") == std::vector<std::string>{file_of(dir, all[0]).substr(path.size() + 1)});
}

TEST_CASE("a store that cannot be made or written says so") {
  TempDir dir;
  write_file(dir.file("certificates"), "a file");
  const auto store = CertificateStore::open(dir.file("certificates"));
  REQUIRE(!store);
  CHECK(store.failure().text.find(dir.file("certificates")) == 0);

  auto good = opened(dir.file("c"));
  const FileSizeLimit limit(100);
  CHECK(!good.put(alice_chain()));
  CHECK(good.size() == 0);
}
