// SPDX-License-Identifier: GPL-3.0-or-later
/// Progress: bars at the bottom of a terminal, one per file that moves and one for all, drawn over one another.
///
/// On stderr, and only if that is a terminal whose cursor can be moved. Whoever prints something hides the bars first;
/// they come back with the next `draw`. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipc/fd.h"

namespace connd::tools {

struct ProgressItem {
  std::string name;  ///< as it may be shown
  std::uint64_t done = 0;
  std::uint64_t size = 0;
  double bytes_per_second = 0;
};

/// One bar of at most `columns`: name, bar, percent, bytes, rate, time left; what is less needed is left out where it
/// is narrow.
[[nodiscard]] std::string progress_line(const ProgressItem& item, std::size_t columns);
/// "0:07", "1:02:03"; "-:--" when nobody can know.
[[nodiscard]] std::string time_left(const ProgressItem& item);

/// Whether a terminal of this kind ($TERM) lets the cursor be moved; null, empty, "dumb" and "unknown" do not.
[[nodiscard]] bool moves_cursor(const char* term);

class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  /// Quick enough to look alive, slow enough for a slow terminal.
  static constexpr std::chrono::milliseconds kInterval{100};
  /// Files that have a bar of their own at once; others are counted.
  static constexpr std::size_t kMaxBars = 8;

  /// Finds out whether there is such a terminal.
  Progress();
  ~Progress() { hide(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void disable() { terminal_.reset(); }
  [[nodiscard]] bool shown() const { return static_cast<bool>(terminal_); }
  /// When to draw next; none without a terminal.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  void draw(std::vector<ProgressItem> items);
  void hide();

 private:
  void put(const std::string& text);

  ipc::Fd terminal_;
  std::size_t lines_ = 0;  // that are on the screen now
  Clock::time_point next_{};
};

}  // namespace connd::tools
