// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/pair_store.h"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "daemon/system/atomic_file.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

proto::DeviceId peer(std::size_t i) {
  proto::DeviceId id;
  id.bytes[0] = static_cast<std::uint8_t>(i);
  id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
  id.bytes[31] = 1;
  return id;
}
proto::PairSecret secret(std::size_t i) {
  proto::PairSecret out{};
  out[5] = static_cast<std::uint8_t>(i);
  out[6] = static_cast<std::uint8_t>(i >> 8);
  return out;
}
PairStore opened(const std::string& path) {
  auto store = PairStore::open(path);
  REQUIRE(store.ok());
  return *std::move(store);
}
void save(PairStore& store) {
  const auto snapshot = store.serialize();
  REQUIRE(write_atomically(store.path(), snapshot.bytes, 0600).ok());
  store.saved(snapshot.change);
}
std::set<proto::PairKey> keys_of(const std::vector<proto::PairListen>& listens) {
  std::set<proto::PairKey> out;
  for (const auto& one : listens) out.insert(one.key);
  return out;
}

const proto::DeviceId kOwn = peer(9'999);
constexpr std::int64_t kNoon = 20'000 * proto::kSecondsPerDay + proto::kSecondsPerDay / 2;

}  // namespace

TEST_CASE("fault A5: the last two secrets of a peer are kept, also over a restart") {
  const TempDir dir;
  auto store = opened(dir.file("pairs"));
  CHECK_FALSE(store.dirty());
  store.add(peer(1), secret(1), true);
  store.add(peer(2), secret(2), false);
  store.add(peer(1), secret(3), true);
  store.add(peer(1), secret(4), true);
  CHECK(store.dirty());
  save(store);
  CHECK_FALSE(store.dirty());
  const auto again = opened(dir.file("pairs"));
  REQUIRE(again.pairs().size() == 2);
  const auto& first = again.pairs().front();
  CHECK(first.peer == peer(1));
  CHECK(first.allowed);
  CHECK(first.secrets == std::vector{secret(4), secret(3)});
  CHECK(again.pairs().back().peer == peer(2));
  CHECK_FALSE(again.pairs().back().allowed);
  CHECK(again.pairs().back().secrets == std::vector{secret(2)});

  CHECK(store.forget(peer(1)));
  CHECK_FALSE(store.forget(peer(1)));
  save(store);
  CHECK(opened(dir.file("pairs")).pairs().size() == 1);
}

TEST_CASE("fault A5: a damaged file of secrets is none; one that cannot be read is told of") {
  const TempDir dir;
  auto store = opened(dir.file("pairs"));
  for (std::size_t i = 0; i < 3; ++i) store.add(peer(i), secret(i), true);
  const auto bytes = store.serialize().bytes;
  const std::string whole(bytes.begin(), bytes.end());
  const std::size_t head = whole.find('\n') + 1;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_file(dir.file("pairs"), whole.substr(0, size));
    const std::size_t pair = (whole.size() - head) / 3;
    const bool cut_between = size >= head && (size - head) % pair == 0;
    CHECK(opened(dir.file("pairs")).pairs().size() == (cut_between ? (size - head) / pair : 0));
  }
  write_file(dir.file("pairs"), whole + whole.substr(head));  // a peer twice
  CHECK(opened(dir.file("pairs")).pairs().empty());
  std::string three = whole;
  three[head + 33] = 3;
  write_file(dir.file("pairs"), three);
  CHECK(opened(dir.file("pairs")).pairs().empty());
  write_file(dir.file("pairs"), std::string(PairStore::kMaxFileBytes + 1, 'x'));
  CHECK_FALSE(PairStore::open(dir.file("pairs")).ok());
}

TEST_CASE("fault A5: there are as many pairs as there is room for, the last connected ones; they fit the file") {
  const TempDir dir;
  auto store = opened(dir.file("pairs"));
  for (std::size_t i = 0; i < PairStore::kMaxPeers + 10; ++i) {
    store.add(peer(i), secret(i), true);
    store.add(peer(i), secret(i + 1), true);
  }
  CHECK(store.pairs().size() == PairStore::kMaxPeers);
  CHECK(store.keys_to(peer(9), kNoon).empty());
  CHECK(store.keys_to(peer(10), kNoon).size() == 2);
  save(store);
  CHECK(opened(dir.file("pairs")).pairs().size() == PairStore::kMaxPeers);

  // Of them, those are listened for that were connected, or called, last.
  const auto is_listened = [&](std::size_t i) {
    const auto listens = store.listens(kOwn, kNoon);
    CHECK(listens.size() == PairStore::kMaxListened + PairStore::kMaxListenedTwice);
    CHECK(2 * listens.size() == PairStore::kMaxListens);  // beside midnight
    return std::any_of(listens.begin(), listens.end(),
                       [&](const proto::PairListen& one) { return one.peer == peer(i); });
  };
  CHECK_FALSE(is_listened(10));
  CHECK(is_listened(PairStore::kMaxPeers + 9));
  CHECK(store.touch(peer(10)));
  CHECK(is_listened(10));
  CHECK_FALSE(store.touch(peer(5)));
}

TEST_CASE("fault A5: what one puts the other finds, each day, and beside midnight with clocks an hour apart") {
  const TempDir dir;
  auto mine = opened(dir.file("mine"));
  auto theirs = opened(dir.file("theirs"));
  mine.add(peer(1), secret(7), true);
  // Two crossed at the other side, and ended there in another order.
  theirs.add(kOwn, secret(8), true);
  theirs.add(kOwn, secret(7), true);
  constexpr std::int64_t kMidnight = 20'000 * proto::kSecondsPerDay;
  for (const std::int64_t now : {kNoon, kMidnight - 1, kMidnight, kMidnight + 1'800, kMidnight - 1'800}) {
    for (const std::int64_t skew : {-1'800, 0, 1'800}) {
      const auto listened = keys_of(mine.listens(kOwn, now + skew));
      const auto put = theirs.keys_to(kOwn, now);
      CHECK(put.size() == 2);
      CHECK(std::any_of(put.begin(), put.end(), [&](const auto& key) { return listened.contains(key); }));
    }
  }
  CHECK(mine.listens(kOwn, kNoon).size() == 1);
  CHECK(mine.listens(kOwn, kMidnight).size() == 2);
  CHECK(mine.keys_to(peer(1), kNoon) != mine.keys_to(peer(1), kNoon + proto::kSecondsPerDay));
  // They crossed, and many others came after them: one key is listened at, and put at both.
  mine.add(peer(1), secret(8), true);
  for (std::size_t i = 2; i < 2 + PairStore::kMaxListenedTwice; ++i) mine.add(peer(i), secret(i), true);
  std::vector<proto::PairListen> ones = mine.listens(kOwn, kNoon);
  std::erase_if(ones, [](const proto::PairListen& one) { return one.peer != peer(1); });
  REQUIRE(ones.size() == 1);
  CHECK(ones[0].key == proto::pair_key(secret(8), proto::pair_day_of(kNoon), kOwn));
  const auto put = theirs.keys_to(kOwn, kNoon);
  CHECK(std::find(put.begin(), put.end(), ones[0].key) != put.end());
}

TEST_CASE("fault A5: the two directions have keys of their own; a clock before 1970 is no harm") {
  const TempDir dir;
  auto mine = opened(dir.file("mine"));
  mine.add(peer(1), secret(7), true);
  // The other direction has other keys; a clock before 1970 is no harm.
  CHECK(mine.listens(kOwn, kNoon)[0].key != mine.keys_to(peer(1), kNoon)[0]);
  CHECK(mine.listens(kOwn, -kNoon).size() == 1);
}
