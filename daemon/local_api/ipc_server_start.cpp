// SPDX-License-Identifier: GPL-3.0-or-later
// Calls that race the daemon's start wait for what they need, as they would for a peer.
#include <algorithm>

#include "daemon/local_api/api.h"
#include "daemon/local_api/ipc_server.h"

namespace connd::daemon {
namespace {
/// Thousands of calls may have waited: so many are worked for in one turn, if that takes no longer.
constexpr std::size_t kCallsPerTurn = 32;
constexpr std::chrono::milliseconds kStartTimePerTurn{1};
constexpr proto::Duration kStartPause = std::chrono::milliseconds(1);
}  // namespace

void IpcServer::set_manager(ConnectionManager* manager) {
  manager_ = manager;
  // In a later turn: whoever makes it is not through with it.
  if (manager_ != nullptr) start_timer_.arm_in(proto::Duration{0});
}

ipc::Outcome<void> IpcServer::wait_for_start(const IpcSession& session, const ipc::Request& request) {
  StartQueue::Waiting call{session.number(), request, context_.loop.now() + settings_.open_time, 0,
                           session.credentials().uid};
  // Params are not looked into yet: one that is wrong is told so when its turn comes.
  if (const auto timeout = request.params.find("timeout"); timeout != request.params.end() && timeout->is_number()) {
    const double seconds = std::clamp(timeout->get<double>(), 0.0, ipc::kTimeoutBounds.max);
    call.deadline = context_.loop.now() + std::chrono::ceil<proto::Duration>(std::chrono::duration<double>(seconds));
  }
  call.bytes = request.params.dump(-1, ' ', false, ipc::Json::error_handler_t::replace).size();
  const UserPlaces& places = settings_.places;
  const StartQueue::Used used = waiting_.used_by(call.uid);
  if (!session.admin() && places.shared() &&
      (used.calls >= places.share(StartQueue::kMaxCalls) ||
       used.bytes + call.bytes > places.share(StartQueue::kMaxBytes))) {
    return ipc::make_error(
        ipc::Reason::kResourceLimit,
        share_text("calls that wait for the start", places.share(StartQueue::kMaxCalls), StartQueue::kMaxCalls));
  }
  if (waiting_.count_of(session.number()) >= ipc::kMaxRequestsInFlight || !waiting_.add(std::move(call))) {
    return ipc::make_error(ipc::Reason::kResourceLimit, "too many requests wait for an answer");
  }
  start_timer_.arm(waiting_.next_deadline());
  return {};
}

void IpcServer::answer_later(ClientNumber client, const ipc::Json& id, std::variant<ipc::Json, ipc::Error> answer) {
  IpcSession* const session = find(client);
  if (session == nullptr || session->state() != IpcSession::State::kOpen) return;
  if (const auto* error = std::get_if<ipc::Error>(&answer)) return session->fail(id, *error);
  session->reply(id, std::move(std::get<ipc::Json>(answer)));
}

bool IpcServer::cancel_waiting(IpcSession& session, const ipc::Json& id) {
  const auto call = waiting_.take(session.number(), id);
  if (!call) return false;
  session.fail(call->request.id, ipc::make_error(ipc::Reason::kCancelled));
  return true;
}

void IpcServer::fail_waiting(const std::vector<StartQueue::Waiting>& calls, const ipc::Error& error) {
  for (const auto& call : calls) {
    if (IpcSession* session = find(call.client)) session->fail(call.request.id, error);
  }
}

/// What they waited for is there, or the time of some is over.
void IpcServer::run_waiting() {
  const proto::TimePoint now = context_.loop.now();
  const auto expired = waiting_.take_expired(now, kCallsPerTurn);
  fail_waiting(expired, context_.view.identity()
                            ? ipc::make_error(ipc::Reason::kNoNetwork, "the network could not be started in time")
                            : ipc::make_error(ipc::Reason::kNotReady,
                                              "the daemon was still making its identity when the time was over"));
  const auto end = std::chrono::steady_clock::now() + kStartTimePerTurn;
  for (std::size_t left = kCallsPerTurn; left > 0 && manager_ != nullptr; --left) {
    if (std::chrono::steady_clock::now() >= end) break;
    auto call = waiting_.take_first();
    if (!call) break;
    run_waiting(*call);
  }
  const bool more = expired.size() == kCallsPerTurn || (manager_ != nullptr && !waiting_.empty());
  start_timer_.arm(more ? now + kStartPause : waiting_.next_deadline());
}

void IpcServer::run_waiting(StartQueue::Waiting& call) {
  IpcSession* session = find(call.client);
  if (session == nullptr || session->state() != IpcSession::State::kOpen) return;
  const ControlTurns::Charged charged(turns_, call.uid);
  // It has had some of its time.
  auto& params = call.request.params;
  if (params.contains("timeout") && params["timeout"].is_number()) {
    const auto left = std::max(call.deadline - context_.loop.now(), proto::Duration{1});
    params["timeout"] = std::chrono::duration<double>(left).count();
  }
  api::dispatch(*this, *session, call.request);
}

}  // namespace connd::daemon
