// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/asked_requests.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using Handles = std::vector<proto::ChannelHandle>;

namespace {

proto::TimePoint at(int seconds) {
  return proto::TimePoint{std::chrono::seconds(seconds)};
}
AskedRequest request(proto::ChannelHandle channel, ClientNumber client, ListenerNumber listener, int seconds) {
  return {{channel, {}, {}, Trust::kAllowed, "u"}, client, listener, at(seconds)};
}

}  // namespace

TEST_CASE("requests that wait are found by client, listener and time, and bounded by client") {
  AskedRequests asked(2);
  CHECK(asked.next_deadline() == proto::kNever);
  CHECK(asked.add(request(1, 7, 70, 30)));
  CHECK(asked.add(request(2, 7, 71, 20)));
  CHECK_FALSE(asked.add(request(3, 7, 70, 10)));
  CHECK(asked.add(request(4, 8, 80, 40)));
  CHECK(asked.next_deadline() == at(20));
  CHECK(asked.expired(at(19)).empty());
  CHECK(asked.expired(at(30)) == Handles{2, 1});
  CHECK(asked.of_listener(7, 71) == Handles{2});
  CHECK(asked.of_client(8, 9) == Handles{4});
  CHECK(asked.of_client(7, 9).size() == 2);
  CHECK(asked.of_client(7, 1).size() == 1);
  CHECK(asked.count_of(7) == 2);
  CHECK(asked.count_of(9) == 0);
  REQUIRE(asked.find(1) != nullptr);
  CHECK(asked.find(1)->listener == 70);
  CHECK(asked.take(2)->incoming.channel == 2);
  CHECK_FALSE(asked.take(2));
  CHECK(asked.next_deadline() == at(30));
  CHECK(asked.add(request(3, 7, 70, 10)));
  CHECK(asked.size() == 3);
}
