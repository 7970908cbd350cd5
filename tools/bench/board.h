// SPDX-License-Identifier: GPL-3.0-or-later
/// Board: memory that the bench shares with a pair of its app processes: counters and times that are read while they
/// work, without a message that would disturb them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace connd::bench {

/// As many channels as one process may have both ends of, with the usual hard limit of files, and some for the rest.
inline constexpr std::size_t kMaxChannels = 8'192;
/// Single times of one command.
inline constexpr std::size_t kMaxSamples = 4'096;

struct Board {
  std::atomic<bool> running;                                   ///< cleared to end what the apps are doing
  std::array<std::atomic<std::uint64_t>, kMaxChannels> taken;  ///< bytes, by channel of the accepting app
  std::array<std::uint64_t, kMaxSamples> samples;              ///< nanoseconds, written before the reply
};

struct BoardUnmapper {
  void operator()(Board* board) const;
};
using BoardPtr = std::unique_ptr<Board, BoardUnmapper>;

/// A board that children made from now on share. Throws when there is no memory.
BoardPtr make_board();

}  // namespace connd::bench
