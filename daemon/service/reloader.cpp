// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/reloader.h"

#include <memory>
#include <optional>
#include <utility>

#include <spdlog/fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "daemon/service/reload.h"
#include "daemon/system/log.h"
#include "daemon/system/service_manager.h"

namespace connd::daemon {

Reloader::Reloader(Loop& loop, Config& running, Read read, std::function<void()> changed)
    : loop_(loop), running_(running), read_(std::move(read)), changed_(std::move(changed)) {}

void Reloader::reload() {
  if (stopped_) return;
  if (std::exchange(reading_, true)) {
    again_ = true;
    return;
  }
  ServiceManager::reloading();
  // Shared: the pool's thread writes it, the loop's reads it when that is done.
  const auto wanted = std::make_shared<std::optional<Outcome<Config>>>();
  loop_.post_work([wanted, read = read_] { wanted->emplace(read()); }, [this, wanted] { on_read(**wanted); });
}

void Reloader::on_read(const Outcome<Config>& wanted) {
  reading_ = false;
  if (stopped_) return;
  if (wanted) {
    take_over(*wanted);
  } else {
    problem_ = "the configuration was not reloaded: " + wanted.failure().text;
    spdlog::error("{}", problem_);
  }
  ServiceManager::ready();
  if (std::exchange(again_, false)) reload();
}

void Reloader::take_over(const Config& wanted) {
  Reload plan = plan_reload(running_, wanted);
  running_ = std::move(plan.next);
  changed_();
  for (const std::string& change : plan.changed) spdlog::info("reload {}", log_escape(change));
  problem_.clear();
  if (!plan.waiting.empty()) {
    problem_ = fmt::format("restart jami-connd for the changes of {}", fmt::join(plan.waiting, ", "));
    spdlog::warn("reload {}", problem_);
  }
  spdlog::info("reloaded changed={} waiting-for-restart={}", plan.changed.size(), plan.waiting.size());
}

}  // namespace connd::daemon
