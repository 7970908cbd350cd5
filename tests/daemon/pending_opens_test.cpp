// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/pending_opens.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

TEST_CASE("opens without an answer are counted by client and by user, until they are taken out") {
  PendingOpens opens;
  const auto first = opens.add({1, 1000, "a", "peer", 10, 0});
  const auto second = opens.add({1, 1000, 7, "other", 5, 0});
  const auto third = opens.add({2, 1000, "a", "peer", 1, 0});
  opens.add({3, 1001, nullptr, "peer", 100, 0});
  opens.set_number(second, 42);
  CHECK(opens.size() == 4);
  CHECK(opens.count_of(1) == 2);
  CHECK(opens.of_user(1000).opens == 3);
  CHECK(opens.of_user(1000).name_bytes == 16);
  CHECK(opens.of_user(1000).to.size() == 2);
  CHECK(opens.find(1, "a") == opens.find(first));
  CHECK(opens.find(2, "a") == opens.find(third));
  CHECK(opens.find(1, 7)->open == 42);
  CHECK(opens.find(1, 8) == nullptr);
  CHECK(opens.find(9, "a") == nullptr);

  CHECK(opens.take(first)->peer == "peer");
  CHECK_FALSE(opens.take(first));
  CHECK(opens.any_of(1) == second);
  CHECK(opens.take(second));
  CHECK_FALSE(opens.any_of(1));
  CHECK(opens.of_user(1000).to.size() == 1);
  CHECK(opens.take(third));
  CHECK(opens.of_user(1000).opens == 0);
  CHECK(opens.of_user(1001).name_bytes == 100);
  opens.set_number(first, 1);  // it has had its answer
  CHECK(opens.size() == 1);
}
