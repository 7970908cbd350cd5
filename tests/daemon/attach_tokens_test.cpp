// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/attach_tokens.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

constexpr uid_t kUser = 1'000;
constexpr proto::TimePoint kStart{};

AttachTokens::Random random_of(std::size_t i) {
  AttachTokens::Random random{};
  random[0] = static_cast<std::uint8_t>(i);
  random[15] = static_cast<std::uint8_t>(i >> 8);
  return random;
}

}  // namespace

TEST_CASE("fault C9: a token is good once, for its user, in its time") {
  AttachTokens tokens;
  const std::string token = tokens.add(7, 1, kUser, kStart, random_of(0xab));
  CHECK(token == "ab" + std::string(30, '0'));
  CHECK(tokens.waits(7));
  CHECK(!tokens.take(token, kUser + 1));
  CHECK(!tokens.take("ab", kUser));
  CHECK(!tokens.take("", kUser));
  CHECK(tokens.take(token, kUser) == 7);
  CHECK(!tokens.take(token, kUser));
  CHECK(tokens.size() == 0);
  CHECK(tokens.next_deadline() == proto::kNever);

  (void)tokens.add(8, 1, kUser, kStart, random_of(1));
  (void)tokens.add(9, 2, kUser, kStart + std::chrono::seconds(1), random_of(2));
  CHECK(tokens.next_deadline() == kStart + AttachTokens::kTime);
  CHECK(tokens.expired(kStart + AttachTokens::kTime - proto::Duration{1}).empty());
  CHECK(tokens.expired(kStart + AttachTokens::kTime) == std::vector<proto::ChannelHandle>{8});
  tokens.forget(8);
  tokens.forget(8);
  CHECK(tokens.of_client(1).empty());
  CHECK(tokens.of_client(2) == std::vector<proto::ChannelHandle>{9});
}

TEST_CASE("fault C9: tokens that wait are bounded, by client, by user, and in all") {
  const UserPlaces half{50};
  AttachTokens tokens;
  proto::ChannelHandle next = 1;
  const auto fill = [&](ClientNumber client, uid_t uid, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i, ++next) {
      CHECK(!tokens.add(next, client, uid, kStart, random_of(next)).empty());
    }
  };
  fill(1, kUser, AttachTokens::kMaxOfClient);
  CHECK(tokens.no_room(1, kUser, half, true));
  CHECK(!tokens.no_room(2, kUser, half, false));
  for (ClientNumber client = 2; client <= 8; ++client) fill(client, kUser, AttachTokens::kMaxOfClient);
  CHECK(tokens.size() == AttachTokens::kMaxInAll / 2);
  CHECK(tokens.no_room(9, kUser, half, false));
  CHECK(!tokens.no_room(9, kUser, half, true));
  CHECK(!tokens.no_room(9, kUser, UserPlaces{}, false));
  CHECK(!tokens.no_room(9, kUser + 1, half, false));
  for (ClientNumber client = 9; client <= 16; ++client) fill(client, kUser + 1, AttachTokens::kMaxOfClient);
  CHECK(tokens.no_room(17, 0, half, true));
  tokens.forget(1);
  CHECK(!tokens.no_room(1, kUser, half, false));
}
