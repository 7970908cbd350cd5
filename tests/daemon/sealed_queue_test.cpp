// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/sealed_queue.h"

#include <random>
#include <set>

#include <catch2/catch.hpp>

using connd::daemon::SealedQueue;

TEST_CASE("fault A5: the newest is taken first") {
  SealedQueue<int> queue(3, [](std::size_t) { return std::size_t{0}; });
  CHECK_FALSE(queue.pop());
  for (const int one : {1, 2, 3}) CHECK(queue.push(one));
  CHECK(queue.pop() == 3);
  CHECK(queue.push(4));
  CHECK(queue.pop() == 4);
  CHECK(queue.pop() == 2);
  CHECK(queue.pop() == 1);
  CHECK(queue.empty());
}

TEST_CASE("fault A5: where there is no room the new one takes the place of any") {
  std::size_t next = 0;
  SealedQueue<int> queue(3, [&](std::size_t below) {
    CHECK(below == 3);
    return next;
  });
  for (const int one : {1, 2, 3}) CHECK(queue.push(one));
  next = 1;
  CHECK_FALSE(queue.push(4));  // 2 goes
  next = 2;
  CHECK_FALSE(queue.push(5));  // 4 goes, the newest of those that were there
  CHECK(queue.size() == 3);
  CHECK(queue.pop() == 5);
  CHECK(queue.pop() == 3);
  CHECK(queue.pop() == 1);
  queue.push(6);
  queue.clear();
  CHECK(queue.empty());
}

TEST_CASE("fault A5: a flood does not keep its own and drop others: any survivor is as likely") {
  std::mt19937 random(1);
  int kept = 0;
  for (int round = 0; round < 1'000; ++round) {
    SealedQueue<int> queue(16, [&](std::size_t below) { return random() % below; });
    queue.push(-1);  // a friend's, before a flood of as many as there is room
    for (int i = 0; i < 31; ++i) queue.push(i);
    while (const auto one = queue.pop()) kept += *one == -1;
  }
  // (15/16)^16 is 0.36.
  CHECK(kept > 300);
  CHECK(kept < 420);
}
