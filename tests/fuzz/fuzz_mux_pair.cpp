// SPDX-License-Identifier: GPL-3.0-or-later
/// Two muxes of ours, whose apps and whose network do what the input says: opens, answers, data, ends and resets in any
/// order, and bytes that arrive in any cuts. Neither may ever take the other for a liar, and what arrives on a channel
/// is what was sent, in order.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "proto/mux.h"
#include "tests/fuzz/check.h"

using namespace connd::proto;

namespace {

using Kind = MuxEvent::Kind;

class End {
 public:
  End(MuxSide side, bool jami, TimePoint& now)
      : now_(now), mux_(config(side), jami ? jami_dialect() : native_dialect(), handles_, now) {}

  void act(unsigned what, unsigned argument) {
    const ChannelHandle channel = channels_.empty() ? 0 : channels_[argument % channels_.size()];
    switch (what) {
      case 0:
        if (const auto opened = mux_.open("c" + std::to_string(argument % 4), argument % 8 >= 4, now_)) {
          note(opened->channel);
        }
        break;
      case 1:
        if (requested(channel)) answer(channel, true);
        break;
      case 2:
        if (requested(channel)) answer(channel, false);
        break;
      case 3:
        if (open_.count(channel) != 0) mux_.reset(channel, Reason::kClosed, "so");
        forget(channel);
        break;
      case 4:
        if (can_send(channel)) {
          mux_.finish(channel);
          open_[channel].sends = false;
          end_one_way(channel);
        }
        break;
      case 5:
        if (can_send(channel)) {
          open_[channel].wants += 1 + argument * 37;
          mux_.set_ready(channel, true);
        }
        break;
      case 6:
        take(channel);
        break;
      default:
        break;
    }
  }

  /// All that it has to send.
  void flush(ByteVector& wire) {
    mux_.flush_control();
    while (mux_.output().size() < Mux::kOutputTarget) {
      const auto turn = mux_.next_sender();
      if (!turn) break;
      State& state = open_[turn->channel];
      const std::size_t length = std::min(turn->bytes, state.wants);
      const auto out = mux_.prepare(turn->bytes);
      for (std::size_t i = 0; i < length; ++i) out[i] = static_cast<std::uint8_t>(state.sent++);
      mux_.commit(turn->channel, length);
      state.wants -= length;
      if (state.wants == 0) mux_.set_ready(turn->channel, false);
    }
    wire.insert(wire.end(), mux_.output().begin(), mux_.output().end());
    mux_.output_taken();
  }

  void receive(Bytes bytes) {
    const ByteVector exact(bytes.begin(), bytes.end());
    mux_.feed(exact, now_);
    for (;;) {
      const auto event = mux_.next_event(now_);
      FUZZ_CHECK(event.ok());
      if (!*event) break;
      on(**event);
    }
    FUZZ_CHECK(mux_.buffered_bytes() <= mux_.max_held());
  }

 private:
  struct State {
    bool asked = false;  ///< by the peer, and not answered
    bool sends = false;  ///< open, and our direction has not ended
    std::size_t wants = 0;
    std::uint64_t sent = 0;
    std::uint64_t came = 0;
    std::size_t held = 0;
    unsigned ends = 0;  ///< of its directions
  };

  static MuxConfig config(MuxSide side) {
    MuxConfig out;
    out.side = side;
    out.max_channels = 8;
    return out;
  }

  void note(ChannelHandle channel) {
    if (std::find(channels_.begin(), channels_.end(), channel) == channels_.end()) channels_.push_back(channel);
    open_.try_emplace(channel);
  }
  void forget(ChannelHandle channel) {
    open_.erase(channel);
    std::erase(channels_, channel);
  }
  void end_one_way(ChannelHandle channel) {
    if (++open_[channel].ends < 2) return;
    mux_.release(channel);
    forget(channel);
  }
  bool requested(ChannelHandle channel) { return open_.count(channel) != 0 && open_[channel].asked; }
  bool can_send(ChannelHandle channel) { return open_.count(channel) != 0 && open_[channel].sends; }
  void answer(ChannelHandle channel, bool yes) {
    open_[channel].asked = false;
    if (!yes) {
      mux_.refuse(channel, Reason::kClosed, "no");
      return forget(channel);
    }
    if (mux_.accept(channel, now_)) open_[channel].sends = true;
  }
  void take(ChannelHandle channel) {
    const auto state = open_.find(channel);
    if (state == open_.end() || state->second.held == 0) return;
    mux_.consumed(channel, std::exchange(state->second.held, 0), now_);
  }

  void on(const MuxEvent& event) {
    switch (event.kind) {
      case Kind::kRequested:
        note(event.channel);
        open_[event.channel].asked = true;
        break;
      case Kind::kOpened:
        open_[event.channel].sends = true;
        break;
      case Kind::kRefused:
      case Kind::kCancelled:
      case Kind::kReset:
        forget(event.channel);
        break;
      case Kind::kData: {
        State& state = open_[event.channel];
        for (const std::uint8_t byte : event.data) FUZZ_CHECK(byte == static_cast<std::uint8_t>(state.came++));
        state.held += event.data.size();
        break;
      }
      case Kind::kEnd:
        end_one_way(event.channel);
        break;
      case Kind::kViolation:
        FUZZ_CHECK(event.kind != Kind::kViolation);
        break;
      default:
        break;
    }
  }

  TimePoint& now_;
  HandleSource handles_;
  Mux mux_;
  std::vector<ChannelHandle> channels_;
  std::map<ChannelHandle, State> open_;
};

void deliver(ByteVector& wire, End& to, std::size_t length) {
  const ByteVector part(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(std::min(length, wire.size())));
  wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(part.size()));
  to.receive(part);
}

}  // namespace

/// A byte that chooses the dialect, then two for each step: which end, what; and an argument.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  TimePoint now{Duration{1'000}};
  End ends[] = {{MuxSide::kClient, data[0] % 2 != 0, now}, {MuxSide::kServer, data[0] % 2 != 0, now}};
  ByteVector wires[2];  // to the end of this number
  constexpr std::size_t kMaxSteps = 512;
  for (std::size_t i = 1; i + 1 < std::min(size, 2 * kMaxSteps); i += 2) {
    const unsigned which = data[i] & 1U;
    const unsigned what = data[i] >> 1 & 7U;
    ends[which].act(what, data[i + 1]);
    ends[which].flush(wires[1 - which]);
    if (what == 7) deliver(wires[which], ends[which], 1U + data[i + 1] * (data[i + 1] % 3 == 2 ? 64U : 1U));
    now += Duration(1);
  }
  for (int i = 0; i < 8; ++i) {
    for (const unsigned which : {0U, 1U}) {
      ends[which].flush(wires[1 - which]);
      deliver(wires[which], ends[which], wires[which].size());
    }
  }
  return 0;
}
