// SPDX-License-Identifier: GPL-3.0-or-later
/// A round of the bench: everything is measured once, the daemons and what they are compared with in turn, so that
/// whatever else the machine does meets them alike.
#pragma once

#include <vector>

#include "tools/bench/figures.h"
#include "tools/bench/lab.h"

namespace connd::bench {

struct Plan {
  LabOptions lab;
  std::vector<std::size_t> channels{1, 10, 100, 1'000, 8'000};
  std::size_t opens = 8'000;
  double window_seconds = 1.0;  ///< of each measurement of throughput
  std::uint32_t round_trips = 500;
  std::uint32_t bulk_round_trips = 200;
  std::uint32_t further_opens = 200;
};

/// A relay that is slower than this part of plain TCP and TLS was disturbed, and so was the round.
inline constexpr double kLeastRelay = 1 / 1.6;

struct Round {
  Figures figures;
  bool is_void = false;
};

Round run_round(const Plan& plan);

}  // namespace connd::bench
