// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/channel_ending.h"

#include <algorithm>
#include <array>
#include <optional>

namespace connd::proto {
namespace ending_table {
namespace {

using Action = ChannelEnding::Action;

enum Fact : unsigned {
  kEof = 1U << 0,
  kDry = 1U << 1,  ///< what the app wrote before finish() is read, or its EOF
  kAppClosed = 1U << 2,
  kBroken = 1U << 3,
  kStrict = 1U << 4,
  kHalfClose = 1U << 5,
  kTaken = 1U << 6,
  kAttached = 1U << 7,
  kCut = 1U << 8,
  kLost = 1U << 9,
  kLate = 1U << 10,
  kAwaited = 1U << 11,
};

// Sets of states, for the table alone.
constexpr unsigned bit(OurHalf half) {
  return 1U << static_cast<unsigned>(half);
}
constexpr unsigned bit(PeersHalf half) {
  return 1U << static_cast<unsigned>(half);
}
constexpr unsigned kAny = ~0U;
constexpr unsigned kOpen = bit(OurHalf::kOpen), kFinishing = bit(OurHalf::kFinishing),
                   kHeldBack = bit(OurHalf::kHeldBack), kEnded = bit(OurHalf::kEnded);
constexpr unsigned kPeerOpen = bit(PeersHalf::kOpen), kPeerEnding = bit(PeersHalf::kEnding),
                   kPeerEnded = bit(PeersHalf::kEnded);

struct Rule {
  unsigned ours, peers;  ///< one of these
  unsigned facts, not_facts;
  Action action;
  std::optional<OurHalf> then_ours = std::nullopt;
  std::optional<PeersHalf> then_peers = std::nullopt;
};

/// The first that fits is followed.
constexpr std::array kRules = {
    Rule{kAny, kAny, kBroken, 0, Action::kAppGone},
    Rule{kAny, kAny, kLost, 0, Action::kNotTaken},
    Rule{kOpen, kAny, kLate, 0, Action::kNotFinished},
    // Our direction is complete: by finish(), or by the app's EOF where that is enough.
    Rule{kFinishing, kAny, kDry | kHalfClose, 0, Action::kSayEnd, OurHalf::kEnded},
    Rule{kOpen, kAny, kEof | kHalfClose, kStrict, Action::kSayEnd, OurHalf::kEnded},
    Rule{kFinishing, kAny, kDry, kHalfClose, Action::kNone, OurHalf::kHeldBack},
    Rule{kOpen, kAny, kEof, kHalfClose | kStrict, Action::kNone, OurHalf::kHeldBack},
    Rule{kHeldBack, kAny, kAppClosed | kTaken, 0, Action::kSayEnd, OurHalf::kEnded, PeersHalf::kEnded},
    // The peer's is, when the app has all of it.
    Rule{kAny, kPeerEnding, kTaken | kAttached | kCut, 0, Action::kShutBoth, std::nullopt, PeersHalf::kEnded},
    Rule{kAny, kPeerEnding, kTaken | kAttached, kCut, Action::kShutWrite, std::nullopt, PeersHalf::kEnded},
    Rule{kEnded, kPeerEnded, 0, 0, Action::kClosed},
    // The app's end is closed, and strict: finish() may have been said right before. It makes a clean end only of what
    // has nothing else to come.
    Rule{kOpen, kPeerOpen | kPeerEnding, kEof | kAppClosed | kHalfClose, 0, Action::kNotFinished},
    Rule{kOpen, kAny, kEof | kAppClosed, kHalfClose | kTaken, Action::kNotFinished},
    Rule{kOpen, kAny, kAppClosed | kStrict, kAwaited, Action::kAwaitFinish},
    // It ended its own direction well, and will not take the peer's. Where it need not say that it has taken all, the
    // peer may end in its own time; what still comes has nowhere to go, and then the peer hears of it.
    Rule{kHeldBack | kEnded, kAny, kAppClosed | kStrict, 0, Action::kAppGone},
    Rule{kHeldBack | kEnded, kAny, kAppClosed, kTaken, Action::kAppGone},
};

}  // namespace
}  // namespace ending_table

std::string_view name_of(OurHalf half) {
  constexpr std::array<std::string_view, 4> kNames = {"open", "finishing", "held-back", "ended"};
  return kNames.at(static_cast<std::size_t>(half));
}

std::string_view name_of(PeersHalf half) {
  constexpr std::array<std::string_view, 3> kNames = {"open", "ending", "ended"};
  return kNames.at(static_cast<std::size_t>(half));
}

bool ChannelEnding::finish() {
  if (over_ || ours_ != OurHalf::kOpen) return false;
  ours_ = OurHalf::kFinishing;
  return !eof_;
}

void ChannelEnding::peer_ended() {
  if (over_ || peers_ != PeersHalf::kOpen) return;
  peers_ = PeersHalf::kEnding;
  if (half_close_) return;
  cut_ = ours_ < OurHalf::kHeldBack;
  ours_ = OurHalf::kEnded;
}

unsigned ChannelEnding::facts(bool taken, bool attached) const {
  using namespace ending_table;
  const auto when = [](bool so, Fact fact) { return so ? fact : 0U; };
  return when(eof_, kEof) | when(dry_ || eof_, kDry) | when(closed_, kAppClosed) | when(broken_, kBroken) |
         when(strict_, kStrict) | when(half_close_, kHalfClose) | when(taken, kTaken) | when(attached, kAttached) |
         when(cut_, kCut) | when(lost_, kLost) | when(late_, kLate) | when(awaited_, kAwaited);
}

ChannelEnding::Action ChannelEnding::next(bool taken, bool attached) {
  using namespace ending_table;
  while (!over_) {
    const unsigned facts = this->facts(taken, attached);
    const auto found = std::find_if(kRules.begin(), kRules.end(), [&](const Rule& rule) {
      return (rule.ours & bit(ours_)) != 0 && (rule.peers & bit(peers_)) != 0 && (facts & rule.facts) == rule.facts &&
             (facts & rule.not_facts) == 0;
    });
    if (found == kRules.end()) break;
    ours_ = found->then_ours.value_or(ours_);
    peers_ = found->then_peers.value_or(peers_);
    awaited_ |= found->action == Action::kAwaitFinish;
    over_ = found->action >= Action::kClosed;
    if (found->action != Action::kNone) return found->action;
  }
  return Action::kNone;
}

}  // namespace connd::proto
