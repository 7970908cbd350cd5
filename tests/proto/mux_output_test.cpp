// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_output.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "proto/limits.h"

using namespace connd::proto;

namespace {

ByteVector bytes_of(const MuxOutput& output) {
  return {output.data().begin(), output.data().end()};
}

void write(MuxOutput& output, WireId channel, const ByteVector& body) {
  std::copy(body.begin(), body.end(), output.prepare(100).begin());
  output.commit(channel, body.size());
}

}  // namespace

TEST_CASE("MuxOutput: a body stands behind its header, and the end of its channel behind that") {
  const auto dialect = native_dialect();
  MuxOutput output(*dialect);
  CHECK(output.empty());
  output.send_end(7);
  write(output, 7, {'a', 'b'});
  CHECK((bytes_of(output) == ByteVector{0, 2, 0, 7, 'a', 'b'}));
  output.flush_control();
  CHECK((bytes_of(output) == ByteVector{0, 2, 0, 7, 'a', 'b', 0, 0, 0, 7}));
  output.taken();
  CHECK(output.empty());
}

TEST_CASE("MuxOutput: what the dialect cannot say is not said") {
  const auto dialect = jami_dialect();
  MuxOutput output(*dialect);
  output.send(control::Window{1, 5});
  CHECK(output.empty());
  output.send(control::Ping{1});
  CHECK_FALSE(output.empty());
}

TEST_CASE("MuxOutput: control that waits is moved up to the target, and is bounded") {
  const auto dialect = native_dialect();
  MuxOutput output(*dialect);
  ByteVector objects;
  output.encode(control::ChannelRequest{std::string(10'000, 'n'), 1, false}, objects);
  std::size_t sent = 0;
  while (!output.overrun()) {
    output.send_group(objects);
    sent += objects.size();
  }
  CHECK(sent > kMaxControlBacklog);
  CHECK(sent <= kMaxControlBacklog + objects.size());
  output.flush_control();
  CHECK(output.data().size() >= MuxOutput::kTarget);
  CHECK(output.data().size() < MuxOutput::kTarget + 2 * kControlFrameTarget);
  // What was dropped stays dropped, whatever has room since.
  CHECK(output.overrun());
  output.drop_waiting();
  output.taken();
  CHECK(output.empty());
  CHECK(output.waiting() == 0);
}
