// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/crash_brake.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include <nlohmann/json.hpp>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

/// Counted no further: the pause has been the longest for long.
constexpr std::int64_t kMostEnds = 1'000;

struct Run {
  std::int64_t booted_unix_s;  ///< when the machine was
  std::int64_t began_s;        ///< since then
  std::int64_t ends;           ///< of the runs before it
};

std::optional<Run> read_run(const std::string& path) {
  const auto bytes = read_bounded(path, CrashBrake::kMaxFileBytes);
  if (!bytes || !*bytes) return std::nullopt;
  const auto json = nlohmann::json::parse((*bytes)->begin(), (*bytes)->end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto number = [&json](const char* name) -> std::int64_t {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : -1;
  };
  const Run run{number("booted"), number("began"), number("ends")};
  // Whatever else is in the file is not ours; the bounds keep sums from overflowing.
  const auto good = [](std::int64_t value) { return value >= 0 && value < std::int64_t{1} << 53; };
  if (!good(run.booted_unix_s) || !good(run.began_s) || !good(run.ends)) return std::nullopt;
  return run;
}

}  // namespace

CrashBrake::Clocks CrashBrake::Clocks::now() {
  timespec since_boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  return {static_cast<std::int64_t>(std::time(nullptr)), static_cast<std::int64_t>(since_boot.tv_sec)};
}

CrashBrake CrashBrake::begin(std::string path, Clocks now) {
  const std::int64_t booted = now.unix_s - now.since_boot_s;
  const std::optional<Run> last = read_run(path);
  std::int64_t ends = 0;
  if (last && std::abs(last->booted_unix_s - booted) <= kClockSlack.count() && last->began_s <= now.since_boot_s) {
    const bool was_good = now.since_boot_s - last->began_s >= kGoodRun.count();
    ends = std::min(was_good ? 1 : last->ends + 1, kMostEnds);
  }
  const nlohmann::json run = {{"booted", booted}, {"began", now.since_boot_s}, {"ends", ends}};
  const std::string text = run.dump() + "\n";
  (void)write_atomically(path, proto::as_bytes(text), 0600, Durability::kCached);
  return {std::move(path), static_cast<unsigned>(ends)};
}

std::chrono::seconds CrashBrake::pause(std::chrono::seconds longest) const {
  if (ends_ <= kFreeEnds) return std::chrono::seconds(0);
  const unsigned doublings = std::min(ends_ - kFreeEnds - 1, 20U);  // beyond any pause that may be configured
  return std::min(std::chrono::seconds(std::int64_t{1} << doublings), longest);
}

void CrashBrake::ended() const {
  ::unlink(path_.c_str());
}

}  // namespace connd::daemon
