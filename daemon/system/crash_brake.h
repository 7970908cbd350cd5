// SPDX-License-Identifier: GPL-3.0-or-later
/// CrashBrake: a daemon that ends again and again without a proper end stays off the network for a while.
///
/// systemd starts it again at once, whatever happened; were it something that comes from the network, such as a
/// datagram that OpenDHT does not survive, the machine would do nothing else. systemd 252 has no pauses that grow, and
/// users without systemd have none at all. So each run is noted in the state directory, and struck out when it ends
/// properly. After a reboot nothing counts: a power cut is no crash.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace connd::daemon {

class CrashBrake {
 public:
  /// So many ends in a row cost nothing: anybody may kill a program twice.
  static constexpr unsigned kFreeEnds = 2;
  /// Whoever ran for so long was well: what comes then is a new row.
  static constexpr std::chrono::seconds kGoodRun = std::chrono::minutes(10);
  /// What the clock may be set by without looking like another boot.
  static constexpr std::chrono::seconds kClockSlack = std::chrono::seconds(5);
  static constexpr std::size_t kMaxFileBytes = 4'096;

  /// Both in whole seconds. Their difference is when the machine was booted (/proc/sys has an id of the boot, but the
  /// service does not see it).
  struct Clocks {
    std::int64_t unix_s;
    std::int64_t since_boot_s;
    static Clocks now();
  };

  /// Reads what the last run left in `path`, and notes there that one begins. The file is a note for ourselves: what
  /// cannot be read is no run, and what cannot be written counts for none. Blocks for the file system.
  static CrashBrake begin(std::string path, Clocks now);

  /// Ends without a proper one, in a row, of the runs before this one.
  [[nodiscard]] unsigned ends() const { return ends_; }
  /// How long to stay off the network: 0 up to kFreeEnds, then 1 s, 2 s, 4 s, …, `longest`.
  [[nodiscard]] std::chrono::seconds pause(std::chrono::seconds longest) const;
  /// The run ends properly.
  void ended() const;

 private:
  CrashBrake(std::string path, unsigned ends) : path_(std::move(path)), ends_(ends) {}

  std::string path_;
  unsigned ends_;
};

}  // namespace connd::daemon
