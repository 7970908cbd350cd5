// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/waiting_calls.h"

#include <algorithm>

namespace connd::daemon {
namespace {
/// Thousands of calls may have waited: so many are worked for in one turn, if that takes no longer.
constexpr std::size_t kCallsPerTurn = 32;
constexpr std::chrono::milliseconds kStartTimePerTurn{1};
constexpr proto::Duration kStartPause = std::chrono::milliseconds(1);
}  // namespace

WaitingCalls::WaitingCalls(Loop& loop, const IpcSettings& settings, Owner& owner)
    : loop_(loop), settings_(settings), owner_(owner), timer_(loop, [this] { run(); }) {}

void WaitingCalls::set_ready(bool ready) {
  ready_ = ready;
  // In a later turn: whoever makes it is not through with it.
  if (ready_) timer_.arm_in(proto::Duration{0});
}

ipc::Outcome<void> WaitingCalls::add(const Caller& caller, const ipc::Request& request) {
  StartQueue::Waiting call{caller.client, request, loop_.now() + settings_.open_time, 0, caller.uid};
  // Params are not looked into yet: one that is wrong is told so when its turn comes.
  if (const auto timeout = request.params.find("timeout"); timeout != request.params.end() && timeout->is_number()) {
    const double seconds = std::clamp(timeout->get<double>(), 0.0, ipc::kMaxTimeout);
    call.deadline = loop_.now() + std::chrono::ceil<proto::Duration>(std::chrono::duration<double>(seconds));
  }
  call.bytes = request.params.dump(-1, ' ', false, ipc::Json::error_handler_t::replace).size();
  const UserPlaces& places = settings_.places;
  const StartQueue::Used used = waiting_.used_by(call.uid);
  if (!caller.admin && places.shared() &&
      (used.calls >= places.share(StartQueue::kMaxCalls) ||
       used.bytes + call.bytes > places.share(StartQueue::kMaxBytes))) {
    return ipc::make_error(
        ipc::Reason::kResourceLimit,
        share_text("calls that wait for the start", places.share(StartQueue::kMaxCalls), StartQueue::kMaxCalls));
  }
  if (waiting_.count_of(caller.client) >= ipc::kMaxRequestsInFlight || !waiting_.add(std::move(call))) {
    return ipc::make_error(ipc::Reason::kResourceLimit, "too many requests wait for an answer");
  }
  timer_.arm(waiting_.next_deadline());
  return {};
}

void WaitingCalls::shut_down() {
  timer_.stop();
  for (const auto& call : waiting_.take_all()) owner_.fail_call(call, ipc::make_error(ipc::Reason::kShuttingDown));
}

/// What they waited for is there, or the time of some is over.
void WaitingCalls::run() {
  const proto::TimePoint now = loop_.now();
  const auto expired = waiting_.take_expired(now, kCallsPerTurn);
  for (const auto& call : expired) owner_.fail_call(call, owner_.not_started());
  const auto end = std::chrono::steady_clock::now() + kStartTimePerTurn;
  for (std::size_t left = kCallsPerTurn; left > 0 && ready_; --left) {
    if (std::chrono::steady_clock::now() >= end) break;
    auto call = waiting_.take_first();
    if (!call) break;
    run_one(*std::move(call));
  }
  const bool more = expired.size() == kCallsPerTurn || (ready_ && !waiting_.empty());
  timer_.arm(more ? now + kStartPause : waiting_.next_deadline());
}

void WaitingCalls::run_one(StartQueue::Waiting call) {
  auto& params = call.request.params;
  if (params.contains("timeout") && params["timeout"].is_number()) {
    const auto left = std::max(call.deadline - loop_.now(), proto::Duration{1});
    params["timeout"] = std::chrono::duration<double>(left).count();
  }
  owner_.run_call(call);
}

}  // namespace connd::daemon
