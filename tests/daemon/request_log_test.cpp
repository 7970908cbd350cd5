// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/request_log.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::DeviceId;

namespace {

DeviceId device(std::uint32_t n) {
  DeviceId id;
  for (std::size_t i = 0; i < 4; ++i) id.bytes[i] = static_cast<std::uint8_t>(n >> (8 * i));
  return id;
}

RequestLog opened(const std::string& path) {
  auto log = RequestLog::open(path);
  REQUIRE(log);
  return *std::move(log);
}

}  // namespace

TEST_CASE("a request is new once, for each signer, and also after a restart if it is allowed") {
  TempDir dir;
  const std::string path = dir.file("requests");
  {
    auto log = opened(path);
    CHECK(log.first_seen(device(1), 7, true));
    CHECK(!log.first_seen(device(1), 7, true));
    CHECK(log.first_seen(device(2), 7, true));
    CHECK(log.first_seen(device(1), 0, true));
    CHECK(log.first_seen(device(1), ~0ull, true));
    CHECK(log.first_seen(device(3), 7, false));
    CHECK(!log.first_seen(device(3), 7, false));
    REQUIRE(log.save());
    CHECK(log.first_seen(device(1), 8, true));  // never saved
  }
  auto log = opened(path);
  CHECK(!log.dirty());
  CHECK(!log.first_seen(device(1), 7, true));
  CHECK(!log.first_seen(device(1), 0, true));
  CHECK(!log.first_seen(device(1), ~0ull, true));
  CHECK(!log.first_seen(device(2), 7, true));
  CHECK(!log.first_seen(device(3), 7, false));
  CHECK(log.first_seen(device(1), 8, true));
}

TEST_CASE("fault J5: requests of unknown signers are known after a restart: the latest, and none twice") {
  TempDir dir;
  const std::string path = dir.file("requests");
  const auto unknown = RequestLog::Kind::kUnknown;
  constexpr std::uint32_t kStored = RequestLog::kMaxStoredUnknown;
  {
    auto log = opened(path);
    CHECK(!log.dirty(unknown));
    for (std::uint32_t n = 0; n < 10; ++n) {
      for (std::uint64_t id = 0; id < 500; ++id) REQUIRE(log.first_seen(device(n), id, false));
    }
    CHECK(!log.dirty());
    CHECK(log.dirty(unknown));
    REQUIRE(log.save());
    CHECK(!log.dirty(unknown));
  }
  auto log = opened(path);
  CHECK(!log.dirty(unknown));
  for (std::uint32_t n = 10 - kStored / 500; n < 10; ++n) {
    for (std::uint64_t id = 0; id < 500; ++id) REQUIRE(!log.first_seen(device(n), id, false));
  }
  CHECK(log.first_seen(device(0), 0, false));
  // Allowed meanwhile, and killed before the strangers' file was written: in both.
  CHECK(!log.first_seen(device(9), 7, true));
  CHECK(log.dirty());
  CHECK(log.dirty(unknown));
  write_file(path, std::string(proto::as_text(log.serialize().bytes)));
  auto both = opened(path);
  CHECK(!both.first_seen(device(9), 7, true));
  CHECK(!both.first_seen(device(9), 8, false));
  CHECK(!both.first_seen(device(9), 9, true));
  CHECK(both.first_seen(device(9), 500, true));
  // The strangers' is no reason not to start.
  write_file(log.path(unknown), "junk");
  CHECK(opened(path).first_seen(device(8), 7, false));
}

TEST_CASE("only new ids of allowed signers make it dirty, and a save counts for what it holds") {
  TempDir dir;
  auto log = opened(dir.file("requests"));
  CHECK(log.first_seen(device(1), 1, false));
  CHECK(!log.dirty());
  CHECK(log.first_seen(device(2), 1, true));
  CHECK(log.dirty());
  const auto snapshot = log.serialize();
  CHECK(log.first_seen(device(2), 2, true));
  log.saved(snapshot.change);
  CHECK(log.dirty());
  {
    const FileSizeLimit limit(8);
    CHECK(!log.save());
    CHECK(log.dirty());
  }
  REQUIRE(log.save());
  CHECK(!log.dirty());
  CHECK(!log.first_seen(device(2), 2, true));
  CHECK(!log.dirty());
}

TEST_CASE("what was seen stays seen when the trust in its signer changes") {
  TempDir dir;
  const std::string path = dir.file("requests");
  auto log = opened(path);
  CHECK(log.first_seen(device(1), 1, false));
  CHECK(!log.first_seen(device(1), 1, true));
  CHECK(log.dirty());
  REQUIRE(log.save());
  CHECK(!opened(path).first_seen(device(1), 1, true));
  CHECK(!log.first_seen(device(1), 1, false));
  CHECK(log.dirty());
  REQUIRE(log.save());
  CHECK(!opened(path).first_seen(device(1), 1, true));
}

TEST_CASE("A8: one signer keeps its last 1,024 ids for as long as it takes, in order, also over a restart") {
  TempDir dir;
  const std::string path = dir.file("requests");
  auto log = opened(path);
  for (std::uint64_t id = 0; id < 1500; ++id) REQUIRE(log.first_seen(device(1), id, true));
  REQUIRE(log.save());
  auto again = opened(path);
  for (std::uint64_t id = 1500 - 1024; id < 1500; ++id) REQUIRE(!again.first_seen(device(1), id, true));
  // The next new id pushes out the oldest, and no other.
  CHECK(again.first_seen(device(1), 9999, true));
  CHECK(!again.first_seen(device(1), 1500 - 1023, true));
  CHECK(again.first_seen(device(1), 1500 - 1024, true));
}

TEST_CASE("strangers push out strangers, the least recently heard first, and never an allowed peer") {
  TempDir dir;
  auto log = opened(dir.file("requests"));
  REQUIRE(log.first_seen(device(0xffff), 1, true));
  for (std::uint32_t n = 0; n < SignerIds::kMaxSigners; ++n) REQUIRE(log.first_seen(device(n), 1, false));
  REQUIRE(!log.first_seen(device(0), 1, false));  // heard again
  REQUIRE(log.first_seen(device(100'000), 1, false));
  CHECK(!log.first_seen(device(0), 1, false));
  CHECK(!log.first_seen(device(2), 1, false));
  CHECK(log.first_seen(device(1), 1, false));
  for (std::uint32_t n = 0; n < 3 * SignerIds::kMaxSigners; ++n) (void)log.first_seen(device(n + 200'000), 1, false);
  CHECK(!log.first_seen(device(0xffff), 1, true));
}

TEST_CASE("ids are bounded in all, and the largest log fits its file") {
  SignerIds ids;
  for (std::uint32_t n = 0; n < 300; ++n) {
    for (std::uint64_t id = 0; id < SignerIds::kMaxIdsPerSigner; ++id) REQUIRE(ids.insert(device(n), id));
    REQUIRE(ids.ids() <= SignerIds::kMaxIds);
  }
  CHECK(ids.ids() == SignerIds::kMaxIds);
  CHECK(ids.signers().size() == SignerIds::kMaxIds / SignerIds::kMaxIdsPerSigner);
  CHECK(SignerIds::kMaxIds * 8 + SignerIds::kMaxSigners * 34 + 64 < RequestLog::kMaxFileBytes);
}

TEST_CASE("a damaged log stops the start: every truncation inside an entry, and junk") {
  TempDir dir;
  const std::string path = dir.file("requests");
  auto log = opened(path);
  for (std::uint64_t id = 0; id < 3; ++id) REQUIRE(log.first_seen(device(1), id, true));
  const auto whole = log.serialize().bytes;
  const std::string text(proto::as_text(whole));
  const std::size_t header = text.find('\n') + 1;
  for (std::size_t n = 0; n < text.size(); ++n) {
    write_file(path, text.substr(0, n));
    INFO(n);
    CHECK(RequestLog::open(path).ok() == (n == header));
  }
  write_file(path, text + "x");
  CHECK(!RequestLog::open(path));
  write_file(path, text + text.substr(header));  // the same ids twice
  const auto bad = RequestLog::open(path);
  REQUIRE(!bad);
  CHECK(bad.failure().text.find(path) == 0);
}
