// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/snapshot_reader.h"

#include <optional>

#include <catch2/catch.hpp>

using namespace connd::ipc;

namespace {

SnapshotPart part_of(std::uint64_t channel, bool done) {
  SnapshotPart part;
  part.channels.emplace_back().channel = channel;
  part.done = done;
  return part;
}

}  // namespace

TEST_CASE("fault C7: a snapshot in parts is one, and the events between them come behind it") {
  std::optional<Snapshot> told;
  int times = 0;
  Snapshot head;
  head.seq = 6;
  head.ready = true;
  SnapshotReader reader(head, [&](const Outcome<Snapshot>& snapshot) {
    told = *snapshot;
    ++times;
  });
  SnapshotPart connections;
  connections.connections.emplace_back().connection = 3;
  CHECK_FALSE(reader.add(connections));
  reader.hold({.seq = 7, .type = "channel.opened"}, {{"channel", 9}});
  CHECK_FALSE(reader.add(part_of(1, false)));
  reader.hold({.seq = 8, .type = "channel.closed"}, {{"channel", 1}});
  CHECK(reader.add(part_of(9, true)));
  CHECK(times == 0);
  reader.tell();
  reader.tell();
  CHECK(times == 1);
  CHECK(told->seq == 6);
  CHECK(told->ready);
  CHECK(told->connections.size() == 1);
  REQUIRE(told->channels.size() == 2);
  CHECK(told->channels[1].channel == 9);
  CHECK(reader.take_held()->event.seq == 7);
  const auto second = reader.take_held();
  CHECK(second->event.type == "channel.closed");
  CHECK(second->members["channel"] == 1);
  CHECK_FALSE(reader.take_held());
}

TEST_CASE("fault C7: more events than are kept while a snapshot comes are told as a gap") {
  SnapshotReader reader({}, nullptr);
  const std::uint64_t sent = SnapshotReader::kMaxHeld + 3;
  for (std::uint64_t seq = 1; seq <= sent; ++seq) reader.hold({.seq = seq, .type = "network.state"}, Json::object());
  for (std::uint64_t seq = 1; seq <= SnapshotReader::kMaxHeld; ++seq) REQUIRE(reader.take_held()->event.seq == seq);
  const auto gap = reader.take_held();
  REQUIRE(gap);
  CHECK(gap->event.type == "events.lost");
  CHECK(gap->members["lost"] == 3);
  CHECK(gap->members["seq"] == sent);
  CHECK_FALSE(reader.take_held());
  reader.fail(make_error(connd::proto::Reason::kConnectionLost));  // nobody waits for it
}
