// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/channel_table.h on connections by links in memory.
#include "daemon/connection/channel_table.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/memory_device.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::Reason;

TEST_CASE("a request is accepted once, refused once, or over when the peer takes it back") {
  MemoryPair pair;
  pair.open_and_accept(1, "accepted");
  const auto accepted = pair.bob.asked.at("accepted");
  CHECK(std::holds_alternative<OpenError>(pair.bob.table.accept(accepted, {})));
  pair.bob.table.refuse(accepted, Reason::kDeclined, "");  // too late: nothing happens
  CHECK(pair.bob.table.size() == 1);

  pair.open(1, "refused");
  pair.bob.table.refuse(pair.bob.asked.at("refused"), Reason::kDeclined, "no");
  CHECK(pair.bob.table.size() == 1);
  CHECK(pair.bob.cancelled.empty());

  pair.open(1, "taken back");
  const auto handle =
      std::find_if(pair.alice.names.begin(), pair.alice.names.end(), [](auto& n) { return n.second == "taken back"; });
  pair.alice.sockets.at(1)->channels().cancel(handle->first, Reason::kCancelled);
  REQUIRE(pair.world.run_until([&] { return !pair.bob.cancelled.empty(); }));
  CHECK(pair.bob.cancelled.front().first == pair.bob.asked.at("taken back"));
  CHECK(std::holds_alternative<OpenError>(pair.bob.table.accept(pair.bob.asked.at("taken back"), {})));
  CHECK(pair.bob.table.begun() == 3);
  CHECK(pair.bob.listed() == std::vector<std::string>{"accepted"});
}

TEST_CASE("a channel that is closed ends once, on both sides, and is in no list any more") {
  MemoryPair pair;
  pair.open_and_accept(1, "one");
  pair.open_and_accept(2, "two");
  CHECK(pair.alice.listed() == std::vector<std::string>{"one", "two"});
  CHECK(pair.bob.table.close(pair.bob.asked.at("one"), Reason::kCancelled, "enough"));
  REQUIRE(pair.world.run_until([&] { return !pair.bob.ends.empty() && !pair.alice.ends.empty(); }));
  CHECK(pair.bob.ends.size() == 1);
  CHECK(pair.alice.ends.size() == 1);
  CHECK(pair.alice.ends.front().reason == Reason::kReset);
  CHECK(pair.alice.table.reset() == 1);
  CHECK_FALSE(pair.bob.table.close(pair.bob.asked.at("one"), Reason::kCancelled, "again"));
  CHECK_FALSE(pair.bob.table.finish(pair.bob.asked.at("one")));
  CHECK_FALSE(pair.bob.table.attach(pair.bob.asked.at("one"), {}).ok());
  CHECK(pair.alice.listed() == std::vector<std::string>{"two"});
}

TEST_CASE("a connection takes its requests and channels with it, and no others") {
  MemoryPair pair;
  pair.open_and_accept(1, "first");
  pair.open_and_accept(2, "second");
  pair.open(1, "asked on the first");
  pair.open(2, "asked on the second");
  pair.bob.sockets.at(1)->close_now(Reason::kCancelled, "enough");
  REQUIRE(pair.world.run_until([&] { return pair.bob.sockets.size() == 1 && pair.alice.sockets.size() == 1; }));
  CHECK(pair.bob.listed() == std::vector<std::string>{"second"});
  CHECK(pair.bob.table.size() == 2);  // with what is asked for on the second
  REQUIRE(pair.bob.cancelled.size() == 1);
  CHECK(pair.bob.cancelled.front().first == pair.bob.asked.at("asked on the first"));
  CHECK(pair.bob.ends.size() == 1);
  CHECK(pair.alice.listed() == std::vector<std::string>{"second"});
  CHECK(pair.bob.table.name_bytes() == std::string("second"
                                                   "asked on the second")
                                           .size());
  CHECK(pair.bob.table.name_bytes_asked(*pair.bob.sockets.at(2)) == pair.bob.table.name_bytes());
  CHECK(pair.alice.table.name_bytes() == std::string("second").size());
  CHECK(pair.alice.table.name_bytes_asked(*pair.alice.sockets.at(2)) == 0);
}

TEST_CASE("another scope of trust ends what the peer opened by the old one, of that connection alone") {
  MemoryPair pair;
  for (const ConnectionNumber connection : {1, 2}) {
    const std::string on = " on " + std::to_string(connection);
    pair.open_and_accept(connection, "file" + on);
    pair.open_and_accept(connection, "chat" + on);
    pair.open(connection, "file, asked for" + on);
  }
  const auto files = TrustScope::of({{"file", true}});
  const auto chats = TrustScope::of({{"chat", true}});
  REQUIRE(files);
  REQUIRE(chats);
  pair.bob.table.scope_changed(*pair.bob.sockets.at(1), *files, *chats);
  REQUIRE(pair.world.run_until([&] { return pair.bob.ends.size() == 1 && pair.alice.ends.size() == 1; }));
  CHECK(pair.bob.ends.front().channel == pair.bob.asked.at("file on 1"));
  REQUIRE(pair.bob.cancelled.size() == 1);
  CHECK(pair.bob.cancelled.front() == std::pair(pair.bob.asked.at("file, asked for on 1"), Reason::kNotPermitted));
  CHECK(pair.bob.listed() == std::vector<std::string>{"chat on 1", "chat on 2", "file on 2"});
  // What Alice opened is hers to end.
  pair.alice.table.scope_changed(*pair.alice.sockets.at(2), *files, *chats);
  CHECK(pair.alice.table.size() == 3);
}

TEST_CASE("one channel is seen by its handle, with what it has moved") {
  MemoryPair pair;
  pair.open_and_accept(1, "one");
  REQUIRE(::write(pair.alice.fds.front().get(), "hello", 5) == 5);
  const auto channel = pair.bob.asked.at("one");
  std::uint64_t bytes = 0;
  REQUIRE(pair.world.run_until([&] {
    pair.bob.table.see(channel, [&](const ChannelView& view) {
      CHECK_FALSE(view.outgoing);
      CHECK(view.device == pair.bob.sockets.at(1)->peer());
      bytes = view.bytes_in;
    });
    return bytes == 5;
  }));
  pair.bob.table.see(channel + 1'000, [&](const ChannelView&) { FAIL("there is none"); });
}
