// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/channel_ending.h"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

using connd::proto::ChannelEnding;
using connd::proto::OurHalf;
using connd::proto::PeersHalf;
using Action = ChannelEnding::Action;
using Actions = std::vector<Action>;

namespace {

Actions all(ChannelEnding& ending, bool taken = true, bool attached = true) {
  Actions out;
  for (;;) {
    const Action action = ending.next(taken, attached);
    if (action == Action::kNone) return out;
    out.push_back(action);
    REQUIRE(out.size() < 10);
  }
}

}  // namespace

TEST_CASE("ChannelEnding: both directions end on their own, and then it is closed") {
  ChannelEnding ending(false, true);
  CHECK(all(ending).empty());
  ending.app_ended();
  CHECK(all(ending) == Actions{Action::kSayEnd});
  CHECK(ending.ours() == OurHalf::kEnded);
  CHECK_FALSE(ending.ended_on_wire());
  ending.peer_ended();
  CHECK(ending.ended_on_wire());
  CHECK(all(ending, false).empty());  // the app has yet to take something
  CHECK(all(ending) == Actions{Action::kShutWrite, Action::kClosed});
  CHECK(ending.over());
  CHECK(all(ending).empty());
}

TEST_CASE("ChannelEnding: strict, only finish() ends our direction, once what was written is read") {
  ChannelEnding ending(true, true);
  ending.app_ended();
  CHECK(all(ending).empty());
  SECTION("said after the app's EOF") {
    CHECK_FALSE(ending.finish());
    CHECK(all(ending) == Actions{Action::kSayEnd});
  }
  SECTION("twice") {
    CHECK_FALSE(ending.finish());
    CHECK(all(ending) == Actions{Action::kSayEnd});
    CHECK_FALSE(ending.finish());
    CHECK(all(ending).empty());
  }
  ChannelEnding open(true, true);
  CHECK(open.finish());
  CHECK(all(open).empty());
  open.all_read();
  CHECK(all(open) == Actions{Action::kSayEnd});
}

TEST_CASE("ChannelEnding: strict, an app that closed may have said finish() right before, for a while") {
  const bool half_close = GENERATE(true, false);
  ChannelEnding ending(true, half_close);
  ending.app_closed();
  CHECK(all(ending) == Actions{Action::kAwaitFinish});
  CHECK(all(ending).empty());  // once
  SECTION("it comes") {
    (void)ending.finish();
    ending.app_ended();
    const Actions last = all(ending);
    // With half close the peer's direction is open, and nobody is there to take it.
    CHECK(last ==
          (half_close ? Actions{Action::kSayEnd, Action::kAppGone} : Actions{Action::kSayEnd, Action::kClosed}));
  }
  SECTION("it does not") {
    ending.finish_is_late();
    CHECK(all(ending) == Actions{Action::kNotFinished});
  }
  SECTION("its EOF is read, and the peer has not ended") {
    ending.app_ended();
    CHECK(all(ending, false) == Actions{Action::kNotFinished});
  }
}

TEST_CASE("ChannelEnding: an app that leaves without having taken everything is gone, not done") {
  const bool half_close = GENERATE(true, false);
  ChannelEnding ending(false, half_close);
  SECTION("as the kernel tells") {
    ending.app_broken();
  }
  SECTION("as what is held tells") {
    ending.app_ended();
    CHECK(all(ending, false) == (half_close ? Actions{Action::kSayEnd} : Actions{}));
    ending.app_closed();
  }
  CHECK(all(ending, false) == Actions{Action::kAppGone});
}

TEST_CASE("ChannelEnding: without half close our end waits for the app to be gone, and ends both") {
  ChannelEnding ending(false, false);
  ending.app_ended();
  CHECK(all(ending).empty());
  CHECK(ending.ours() == OurHalf::kHeldBack);
  CHECK(ending.complete());
  ending.app_closed();
  CHECK(all(ending) == Actions{Action::kSayEnd, Action::kClosed});
}

TEST_CASE("ChannelEnding: without half close the peer's end ends ours, and what was written is lost") {
  ChannelEnding ending(false, false);
  ending.peer_ended();
  CHECK(ending.ours() == OurHalf::kEnded);
  CHECK(all(ending, true, false).empty());  // no app yet to be shown it
  CHECK(ending.next(true, true) == Action::kShutBoth);
  SECTION("there was nothing") {
    CHECK(all(ending) == Actions{Action::kClosed});
  }
  SECTION("there was something") {
    ending.lost();
    CHECK(all(ending) == Actions{Action::kNotTaken});
  }
}

/// Whatever happens, in whatever order.
TEST_CASE("ChannelEnding: of any story, each end is said once, and `closed` means both") {
  constexpr unsigned kFacts = 7;
  constexpr unsigned kSteps = 5;
  unsigned stories = 1;
  for (unsigned i = 0; i < kSteps; ++i) stories *= kFacts;
  for (const bool strict : {false, true}) {
    for (const bool half_close : {false, true}) {
      for (unsigned story = 0; story < 2 * stories; ++story) {
        ChannelEnding ending(strict, half_close);
        bool finished = false, eof = false, peer = false, closed = false, broken = false;
        Actions done;
        for (unsigned i = 0, rest = story / 2; i < kSteps; ++i, rest /= kFacts) {
          switch (rest % kFacts) {
            case 0:
              ending.app_ended();
              eof = true;
              break;
            case 1:
              ending.app_closed();
              closed = true;
              break;
            case 2:
              (void)ending.finish();
              finished = true;
              break;
            case 3:
              ending.all_read();
              break;
            case 4:
              ending.peer_ended();
              peer = true;
              break;
            case 5:
              ending.finish_is_late();
              break;
            default:
              ending.app_broken();
              broken = true;
          }
          const Actions now = all(ending, story % 2 == 0 || i + 1 == kSteps);
          done.insert(done.end(), now.begin(), now.end());
        }
        const auto count = [&](Action action) { return std::count(done.begin(), done.end(), action); };
        const bool whole = [&] {
          if (count(Action::kSayEnd) > 1 || count(Action::kAwaitFinish) > 1) return false;
          if (count(Action::kShutWrite) + count(Action::kShutBoth) > 1) return false;
          // One end, and nothing behind it.
          for (std::size_t i = 0; i + 1 < done.size(); ++i) {
            if (done[i] >= Action::kClosed) return false;
          }
          const bool said = count(Action::kSayEnd) == 1;
          const bool ours_clean = strict ? finished : finished || eof;
          if (said && !ours_clean) return false;
          if (count(Action::kShutBoth) + count(Action::kShutWrite) > 0 && !peer) return false;
          if (count(Action::kClosed) == 1) {
            // Without half close either side's end is both's.
            return half_close ? ours_clean && peer : peer || (ours_clean && closed);
          }
          return !broken || ending.over();
        }();
        if (!whole) FAIL("strict " << strict << ", half close " << half_close << ", story " << story);
      }
    }
  }
}
