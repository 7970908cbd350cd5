// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/request_saver.h"

#include <spdlog/spdlog.h>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {

RequestSaver::RequestSaver(Loop& loop, RequestLog& log)
    : loop_(loop), log_(log), unknown_timer_(loop, [this] { save(Kind::kUnknown); }) {}

void RequestSaver::on_change() {
  save(Kind::kAllowed);
  if (log_.dirty(Kind::kUnknown) && !unknown_timer_.armed()) unknown_timer_.arm_in(kUnknownDelay);
}

void RequestSaver::flush() {
  unknown_timer_.stop();
  save(Kind::kAllowed);
  save(Kind::kUnknown);
}

void RequestSaver::save(Kind kind) {
  bool& saving = saving_[static_cast<std::size_t>(kind)];
  if (saving || !log_.dirty(kind)) return;
  saving = true;
  auto snapshot = std::make_shared<RequestLog::Snapshot>(log_.serialize(kind));
  auto outcome = std::make_shared<Outcome<void>>();
  // Strangers' are worth no wait for the disk.
  const Durability durability = kind == Kind::kAllowed ? Durability::kOnDisk : Durability::kCached;
  loop_.post_work([snapshot, outcome, durability,
                   path = log_.path(kind)] { *outcome = write_atomically(path, snapshot->bytes, 0600, durability); },
                  [this, kind, snapshot, outcome, alive = std::weak_ptr<int>(alive_)] {
                    if (alive.expired()) return;
                    saving_[static_cast<std::size_t>(kind)] = false;
                    if (!*outcome) return spdlog::warn("seen requests not saved: {}", outcome->failure().text);
                    log_.saved(snapshot->change, kind);
                    on_change();
                  });
}

}  // namespace connd::daemon
