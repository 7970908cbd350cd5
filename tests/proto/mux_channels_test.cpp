// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_channels.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "proto/frame_reader.h"

using namespace connd::proto;

namespace {

constexpr TimePoint kNow{Duration{1'000'000}};

/// One side's channels, and what is said of them.
struct Side {
  std::unique_ptr<Dialect> dialect;
  HandleSource handles;
  MuxFlow flow;
  MuxOutput output;
  MuxChannels channels;

  explicit Side(std::unique_ptr<Dialect> spoken = native_dialect(), const MuxConfig& config = {})
      : dialect(std::move(spoken)),
        flow(dialect->rules.credit, kMaxConnectionBuffer, kMaxWindow),
        output(*dialect),
        channels(config, dialect->rules, handles, flow, output) {}
  Channel& ask(const std::string& name) {
    const auto handle = channels.open(name, false, {}, kNow);
    REQUIRE(handle);
    return *channels.table().find(*handle);
  }
  Channel& offered(WireId id, const std::string& name) {
    return channels.table().add(id, name, ChannelState::kOffered, false);
  }
  Channel& open(WireId id) {
    Channel& channel = offered(id, "o");
    channels.accept(channel, kNow);
    (void)said();
    return channel;
  }
  /// What the peer hears of since the last call, in words.
  std::vector<std::string> said() {
    output.flush_control();
    const ByteVector bytes(output.data().begin(), output.data().end());
    output.taken();
    FrameReader reader(*dialect);
    reader.feed(bytes);
    std::vector<std::string> words;
    for (;;) {
      const auto item = reader.next();
      REQUIRE(item);
      if (!*item) return words;
      words.push_back(word(**item));
    }
  }
  static std::string word(const FrameReader::Item& item) {
    if (item.message == nullptr) return "end " + std::to_string(item.piece.channel);
    if (const auto* m = std::get_if<control::ChannelRequest>(item.message)) {
      return (m->is_answer ? "accept " : "request ") + std::to_string(m->channel);
    }
    if (const auto* m = std::get_if<control::Window>(item.message)) return "window " + std::to_string(m->channel);
    if (const auto* m = std::get_if<control::Refuse>(item.message)) return "refuse " + std::to_string(m->channel);
    if (const auto* m = std::get_if<control::Reset>(item.message)) return "reset " + std::to_string(m->channel);
    return "?";
  }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("MuxChannels: a request has its first credit with it, and so has an accept; neither where there is none") {
  Side native;
  native.ask("x");
  CHECK(native.said() == Words{"request 1", "window 1"});
  native.channels.accept(native.offered(0x8000, "y"), kNow);
  CHECK(native.said() == Words{"accept 32768", "window 32768"});
  Side jami(jami_dialect());
  jami.ask("x");
  Channel& theirs = jami.offered(0x8000, "y");
  jami.channels.accept(theirs, kNow);
  CHECK(jami.said() == Words{"request 1", "accept 32768"});
  CHECK(theirs.credit.available() == kMaxCredit);
}

TEST_CASE("MuxChannels: what is not asked, by what the peer has said and what is there") {
  Side side(native_dialect(), MuxConfig{.max_channels = 2});
  CHECK(side.channels.open("abc", false, {.max_name = 2}, kNow).error() == Errc::kBadChannelName);
  CHECK(side.channels.open("\xff", false, {}, kNow).error() == Errc::kBadChannelName);
  CHECK(side.channels.open("a", false, {.max_channels = 0}, kNow).error() == Errc::kPeerTakesNoMore);
  side.ask("a");
  side.ask("b");
  CHECK(side.channels.full());
  CHECK(side.channels.open("c", false, {}, kNow).error() == Errc::kNoFreeChannel);
}

TEST_CASE(
    "MuxChannels: an offered channel is refused, an open one reset, and what is gone is forgotten without a word") {
  Side side;
  side.channels.reset(side.offered(0x8000, "x"), Reason::kBusy, {});
  CHECK(side.said() == Words{"refuse 32768"});
  CHECK(side.channels.table().on_wire() == 0);

  Channel& open = side.open(0x8001);
  const ChannelHandle handle = open.handle;
  side.channels.reset(open, Reason::kReset, {});
  CHECK(side.said() == Words{"reset 32769"});
  CHECK(side.channels.table().find(handle) == nullptr);
  CHECK(side.channels.table().find_id(0x8001) == &open);  // until it is answered
  CHECK_FALSE(side.channels.peer_reset(open, 0));
  CHECK(side.said().empty());
  CHECK(side.channels.table().find_id(0x8001) == nullptr);

  Channel& ended = side.open(0x8002);
  const ChannelHandle gone = ended.handle;
  side.channels.peer_finished(ended);
  side.channels.finish(ended);
  side.channels.finish(ended);  // once
  CHECK(side.said() == Words{"end 32770"});
  CHECK(side.channels.table().find(gone) == &ended);
  side.channels.reset(ended, Reason::kReset, {});
  CHECK(side.said().empty());
  CHECK(side.channels.table().find(gone) == nullptr);
}

TEST_CASE("MuxChannels: the peer's reset of a channel that is known is answered once") {
  Side side;
  Channel& open = side.open(0x8000);
  const ChannelHandle handle = open.handle;
  CHECK(side.channels.peer_reset(open, 13));
  CHECK(side.said() == Words{"reset 32768"});
  CHECK(side.channels.table().find(handle) == nullptr);
}

TEST_CASE(
    "MuxChannels: where there are no resets an abort is an end, and a cancelled open is ended when it is accepted") {
  Side side(jami_dialect());
  side.channels.reset(side.open(0x8000), Reason::kReset, {});
  CHECK(side.said() == Words{"end 32768"});
  CHECK(side.channels.table().on_wire() == 0);

  Channel& asked = side.ask("x");
  (void)side.said();
  side.channels.reset(asked, Reason::kCancelled, {});
  CHECK(side.said().empty());
  CHECK((side.channels.table().on_wire() == 1 && side.channels.table().unanswered() == 1));
  side.channels.end_cancelled(asked);
  CHECK(side.said() == Words{"end 1"});
  CHECK((side.channels.table().on_wire() == 0 && side.channels.table().unanswered() == 0));
}

TEST_CASE("MuxChannels: where there is no half close one end is both") {
  Side side(jami_dialect());
  Channel& ours = side.open(0x8000);
  side.channels.finish(ours);
  CHECK(side.said() == Words{"end 32768"});
  CHECK((ours.state == ChannelState::kGone));
  Channel& theirs = side.open(0x8001);
  side.channels.peer_finished_both(theirs);
  CHECK(side.said().empty());
  CHECK((theirs.state == ChannelState::kGone));
}
