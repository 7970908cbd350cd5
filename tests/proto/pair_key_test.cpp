// SPDX-License-Identifier: GPL-3.0-or-later
// The vectors are in PROTOCOL.md, and held to the code by protocol_doc_test.cpp.
#include "proto/pair_key.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

TEST_CASE("fault A5: a pair key is another one for each secret, day and receiver") {
  PairSecret secret{};
  DeviceId receiver;
  const PairKey key = pair_key(secret, 1, receiver);
  CHECK(pair_key(secret, 1, receiver) == key);
  CHECK(pair_key(secret, 2, receiver) != key);
  CHECK(pair_key(secret, 1U << 24, receiver) != key);
  receiver.bytes[31] = 1;
  CHECK(pair_key(secret, 1, receiver) != key);
  receiver.bytes[31] = 0;
  secret[31] = 1;
  CHECK(pair_key(secret, 1, receiver) != key);
}

TEST_CASE("fault A5: days begin at midnight UTC") {
  CHECK(pair_day_of(0) == 0);
  CHECK(pair_day_of(86'399) == 0);
  CHECK(pair_day_of(86'400) == 1);
  CHECK(pair_day_of(-1) == 0);
  CHECK(pair_day_of(1'800'000'000) == 20'833);
}
