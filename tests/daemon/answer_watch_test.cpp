// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/answer_watch.h"

#include <vector>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

constexpr proto::TimePoint kStart{proto::Duration(1'000'000)};

proto::DeviceId peer(std::size_t number) {
  proto::DeviceId id{};
  id.bytes[0] = static_cast<std::uint8_t>(number);
  return id;
}

/// When it looks from now on, in milliseconds after kStart.
std::vector<long> looks(AnswerWatch& watch) {
  std::vector<long> out;
  while (watch.next_deadline() != proto::kNever && out.size() < 100) {
    const auto now = watch.next_deadline();
    CHECK_FALSE(watch.due(now - proto::Duration(1)));
    CHECK(watch.due(now));
    out.push_back((now - kStart).count());
  }
  return out;
}

}  // namespace

TEST_CASE("AnswerWatch: three looks after a request, then one a second while it is patient") {
  AnswerWatch watch;
  CHECK_FALSE(watch.due(kStart));
  watch.on_request(peer(1), kStart);
  CHECK(looks(watch) == std::vector<long>{300, 1'000, 2'000, 3'000});
  CHECK_FALSE(watch.due(kStart + std::chrono::hours(1)));
}

TEST_CASE("AnswerWatch: many requests make no more looks; a repeated one makes them last") {
  AnswerWatch watch;
  for (std::size_t i = 0; i < 50; ++i) watch.on_request(peer(i), kStart);
  CHECK(watch.next_deadline() == kStart + proto::Duration(300));
  CHECK(watch.due(kStart + proto::Duration(300)));
  watch.on_request(peer(1), kStart + proto::Duration(500));  // the looks go on as they were
  CHECK(looks(watch) == std::vector<long>{1'000, 2'000, 3'000, 4'000});
}

TEST_CASE("AnswerWatch: a look that comes late puts off the next, and brings no two together") {
  AnswerWatch watch;
  watch.on_request(peer(1), kStart);
  CHECK(watch.due(kStart + proto::Duration(1'900)));
  CHECK(watch.next_deadline() == kStart + proto::Duration(1'900));
  CHECK(watch.due(kStart + proto::Duration(1'900)));
  CHECK(watch.next_deadline() == kStart + proto::Duration(2'000));
}

TEST_CASE("AnswerWatch knows whose answers are awaited, so many peers and for so long") {
  AnswerWatch watch;
  for (std::size_t i = 0; i < AnswerWatch::kMaxAwaited; ++i) watch.on_request(peer(i), kStart);
  CHECK(watch.awaits(peer(0)));
  CHECK_FALSE(watch.awaits(peer(200)));
  watch.on_request(peer(200), kStart);
  CHECK_FALSE(watch.awaits(peer(200)));
  watch.on_request(peer(1), kStart + proto::Duration(1));  // one of them again
  watch.on_request(peer(200), kStart + AnswerWatch::kPatience);
  CHECK(watch.awaits(peer(200)));
  CHECK(watch.awaits(peer(1)));
  CHECK_FALSE(watch.awaits(peer(0)));
}

TEST_CASE("fault E00: answers are looked for at the nodes while they are awaited, once for all who wait") {
  AnswerWatch watch;
  CHECK(watch.next_deadline() == proto::kNever);
  std::vector<long> looks;
  for (long now = 0; now < 12'000; now += 100) {
    if (now % 3'000 == 0 && now < 9'000) {
      for (int i = 0; i < 100; ++i) watch.on_request(peer(1), kStart + proto::Duration(now));
    }
    if (watch.due(kStart + proto::Duration(now))) looks.push_back(now);
  }
  CHECK(looks == std::vector<long>{300, 1'000, 2'000, 3'000, 4'000, 5'000, 6'000, 7'000, 8'000, 9'000});
  CHECK(watch.next_deadline() == proto::kNever);
  watch.on_request(peer(1), kStart + proto::Duration(60'000));
  CHECK(watch.next_deadline() == kStart + proto::Duration(60'300));
}
