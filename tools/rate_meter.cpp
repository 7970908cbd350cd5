// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/rate_meter.h"

#include <algorithm>

namespace connd::tools {

void RateMeter::advance(std::int64_t step) {
  constexpr auto kCount = static_cast<std::int64_t>(kSteps);
  if (step - step_ >= kCount) {
    bytes_.fill(0);
    step_ = step;
  }
  while (step_ < step) bytes_[static_cast<std::size_t>(++step_ % kCount)] = 0;
}

void RateMeter::add(std::uint64_t bytes, Clock::time_point now) {
  if (first_ == Clock::time_point{}) first_ = now;
  advance(step_of(now));
  bytes_[static_cast<std::size_t>(step_ % static_cast<std::int64_t>(kSteps))] += bytes;
}

double RateMeter::bytes_per_second(Clock::time_point now) const {
  if (first_ == Clock::time_point{}) return 0;
  RateMeter at = *this;
  at.advance(step_of(now));
  std::uint64_t sum = 0;
  for (const auto bytes : at.bytes_) sum += bytes;
  // The steps that are summed: all before the current one, and the part of it that is over.
  const Clock::time_point begin{(step_of(now) - static_cast<std::int64_t>(kSteps) + 1) * kStep};
  const std::chrono::duration<double> span = now - std::max(begin, first_);
  return span.count() > 0 ? static_cast<double>(sum) / span.count() : 0;
}

}  // namespace connd::tools
