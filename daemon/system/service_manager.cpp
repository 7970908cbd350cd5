// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/service_manager.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <sys/stat.h>
#include <systemd/sd-daemon.h>

namespace connd::daemon {

ServiceManager::ServiceManager(Loop& loop) : timer_(loop, [this] { ping(); }) {
  std::uint64_t limit_us = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &limit_us) <= 0) return;
  const auto half = std::chrono::microseconds(limit_us) / 2;
  interval_ = std::max(std::chrono::duration_cast<proto::Duration>(half), proto::Duration{1});
  ping();
}

void ServiceManager::ping() {
  ::sd_notify(0, "WATCHDOG=1");
  timer_.arm_in(interval_);
}

void ServiceManager::ready() {
  ::sd_notify(0, "READY=1");
}

void ServiceManager::reloading() {
  // Type=notify-reload (systemd 253) wants the time too, to tell this reload from an older one; 252 does not look at
  // it.
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto us = static_cast<unsigned long long>(now.tv_sec) * 1'000'000 + static_cast<unsigned>(now.tv_nsec) / 1'000;
  ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", us);
}

bool ServiceManager::ends_with_login(const Environment& environment, const std::string& lingering) {
  // Only managers of users set it (systemd.exec(5), MANAGERPID).
  const std::string user = environment.get("USER");
  if (environment.get("MANAGERPID").empty() || user.empty()) return false;
  struct stat what {};
  return ::stat((lingering + "/" + user).c_str(), &what) != 0 && errno == ENOENT;
}

void ServiceManager::stopping() {
  ::sd_notify(0, "STOPPING=1");
}

}  // namespace connd::daemon
