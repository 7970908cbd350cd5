// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/ipc_server.h"

#include <algorithm>
#include <chrono>

#include "daemon/local_api/api.h"

namespace connd::daemon {
namespace {

/// The owner of a user service need not share it.
IpcSettings for_its_users(IpcSettings settings) {
  if (settings.access.owner) settings.places = UserPlaces{};
  return settings;
}

}  // namespace

IpcServer::IpcServer(const Context& context, IpcSettings settings, ControlListener listener)
    : context_(context),
      settings_(for_its_users(std::move(settings))),
      feed_(context.loop, context.events, context.stores),
      control_(context.loop, settings_, std::move(listener), *this),
      attachments_(context.loop, settings_),
      apps_({context.loop, settings_, control_.turns(), feed_, attachments_, pending_}),
      opens_({context.loop, settings_, control_.turns(), attachments_, pending_, apps_}),
      questions_(context.loop,
                 [this](ClientNumber client, std::string_view method, ipc::Json params) {
                   IpcSession* const session = control_.find(client);
                   if (session == nullptr || session->state() != IpcSession::State::kOpen) return false;
                   session->notify(method, std::move(params));
                   return true;
                 }),
      waiting_(context.loop, settings_, *this),
      snapshots_([this](const IpcSession& session, SnapshotStreams::List list, const std::string& after) {
        return api::snapshot_page(*this, session, list, after);
      }) {}

void IpcServer::set_settings(IpcSettings settings) {
  settings.access = settings_.access;
  settings_ = for_its_users(std::move(settings));
  apps_.settings_changed();
}

void IpcServer::set_manager(ConnectionManager* manager) {
  manager_ = manager;
  feed_.set_manager(manager);
  attachments_.set_manager(manager);
  apps_.set_manager(manager);
  opens_.set_manager(manager);
  questions_.set_manager(manager);
  waiting_.set_ready(manager != nullptr);
}

void IpcServer::shut_down(std::function<void()> done) {
  waiting_.shut_down();
  control_.shut_down(std::move(done));
}

// ---- clients ----

void IpcServer::client_came(IpcSession& session) {
  apps_.join(session);
}

void IpcServer::client_asks(IpcSession& session, ipc::Request request) {
  api::dispatch(*this, session, request);
}

bool IpcServer::work_beside(IpcSession& session) {
  const bool held = apps_.accept_held(session);
  return snapshots_.work(session) || held;
}

bool IpcServer::take_back(IpcSession& session) {
  const ClientNumber client = session.number();
  session.unsubscribe();
  feed_.unsubscribe(client);
  snapshots_.end(client);
  questions_.leave(client);
  waiting_.remove_client(client);
  const bool apps = apps_.take_back(client);
  return opens_.take_back(session) && apps;
}

void IpcServer::client_gone(IpcSession& session) {
  apps_.leave(session.number());
}

bool IpcServer::fresh(const IpcSession& session) const {
  const ClientNumber client = session.number();
  return session.idle() && pending_.count_of(client) == 0 && apps_.fresh(client) && waiting_.count_of(client) == 0 &&
         !questions_.is_owner(client);
}

std::vector<ipc::UserStatus> IpcServer::users() const {
  std::vector<ipc::UserStatus> users;
  for (const auto& [uid, clients] : control_.clients_of_users()) {
    const UidShares::Account account = control_.shares().account(uid);
    users.push_back({uid, clients, apps_.owners().count_of_user(uid), pending_.of_user(uid).opens,
                     apps_.listeners().count_of_user(uid), std::chrono::duration<double>(account.spent).count(),
                     account.held_back});
  }
  std::sort(users.begin(), users.end(), [](const auto& a, const auto& b) { return a.uid < b.uid; });
  return users;
}

ClientTotals IpcServer::totals() const {
  ClientTotals totals = control_.totals();
  totals.limits_hit += apps_.refused_busy();
  return totals;
}

// ---- calls that are answered later ----

void IpcServer::answer_later(ClientNumber client, const ipc::Json& id, std::variant<ipc::Json, ipc::Error> answer) {
  IpcSession* const session = control_.find(client);
  if (session == nullptr || session->state() != IpcSession::State::kOpen) return;
  if (const auto* error = std::get_if<ipc::Error>(&answer)) return session->fail(id, *error);
  session->reply(id, std::move(std::get<ipc::Json>(answer)));
}

ipc::Outcome<void> IpcServer::wait_for_start(const IpcSession& session, const ipc::Request& request) {
  return waiting_.add({session.number(), session.credentials().uid, session.admin()}, request);
}

bool IpcServer::cancel_waiting(IpcSession& session, const ipc::Json& id) {
  const auto call = waiting_.take(session.number(), id);
  if (!call) return false;
  session.fail(call->request.id, ipc::make_error(ipc::Reason::kCancelled));
  return true;
}

void IpcServer::run_call(const StartQueue::Waiting& call) {
  IpcSession* session = control_.find(call.client);
  if (session == nullptr || session->state() != IpcSession::State::kOpen) return;
  const ControlTurns::Charged charged(control_.turns(), call.uid);
  api::dispatch(*this, *session, call.request);
}

void IpcServer::fail_call(const StartQueue::Waiting& call, const ipc::Error& error) {
  if (IpcSession* session = control_.find(call.client)) session->fail(call.request.id, error);
}

ipc::Error IpcServer::not_started() const {
  return context_.view.identity() ? ipc::make_error(ipc::Reason::kNoNetwork, "the network could not be started in time")
                                  : ipc::make_error(ipc::Reason::kNotReady,
                                                    "the daemon was still making its identity when the time was over");
}

}  // namespace connd::daemon
