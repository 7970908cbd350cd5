// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtLog: OpenDHT's log on its way to the loop: at most kMaxWaitingLogLines, each cut at kMaxLogLineBytes; more are
/// dropped and counted.
///
/// Part of DhtClient; OpenDHT owns it too.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "daemon/dht/dht_client.h"
#include "daemon/dht/dht_node.h"
#include "daemon/dht/dht_poster.h"

namespace connd::daemon {

inline constexpr unsigned kMaxWaitingLogLines = 1'024;
inline constexpr std::size_t kMaxLogLineBytes = 1'024;

class DhtLog {
 public:
  using Line = std::function<void(DhtLogLevel, const std::string&)>;

  /// `line` is called on the loop's thread, with each one.
  DhtLog(DhtPoster poster, Line line) : poster_(std::move(poster)), line_(std::move(line)) {}

  /// What OpenDHT is given.
  static std::shared_ptr<dht::Logger> logger(const std::shared_ptr<DhtLog>& log) {
    const auto method = [&log](DhtLogLevel level) {
      return dht::LogMethod(
          [log, level](const char* format, va_list arguments) { log->write(level, format, arguments); });
    };
    return std::make_shared<dht::Logger>(method(DhtLogLevel::kError), method(DhtLogLevel::kWarning),
                                         method(DhtLogLevel::kDebug));
  }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  /// OpenDHT's threads.
  void write(DhtLogLevel level, const char* format, va_list arguments) {
    if (waiting_.fetch_add(1) >= kMaxWaitingLogLines) {
      --waiting_;
      ++dropped_;
      return;
    }
    char line[kMaxLogLineBytes];
    std::vsnprintf(line, sizeof line, format, arguments);
    poster_.post([this, level, text = std::string(line)] {
      --waiting_;
      line_(level, text);
    });
  }

  DhtPoster poster_;
  Line line_;
  std::atomic<unsigned> waiting_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace connd::daemon
