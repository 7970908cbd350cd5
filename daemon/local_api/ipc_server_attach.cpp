// SPDX-License-Identifier: GPL-3.0-or-later
// Channels for clients that cannot receive a descriptor: a token, and a connection that becomes the channel.
#include <cerrno>

#include <sys/random.h>

#include "daemon/local_api/ipc_server.h"

namespace connd::daemon {

std::optional<ipc::Error> IpcServer::no_token(const IpcSession& session) const {
  auto full = tokens_.no_room(session.number(), session.credentials().uid, settings_.places, session.admin());
  if (!full) return std::nullopt;
  return ipc::make_error(ipc::Reason::kResourceLimit, *std::move(full));
}

std::string IpcServer::new_token(const IpcSession& session, proto::ChannelHandle channel) {
  AttachTokens::Random random;
  // So few bytes come whole, and a daemon that speaks TLS has waited for the kernel's source long ago.
  while (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    if (errno != EINTR) return {};  // a token that nobody can show: the channel's time runs out
  }
  std::string token = tokens_.add(channel, session.number(), session.credentials().uid, context_.loop.now(), random);
  token_timer_.arm(tokens_.next_deadline());
  return token;
}

ipc::Outcome<void> IpcServer::attach(IpcSession& session, const ipc::Json& id, std::string_view token) {
  const ClientNumber client = session.number();
  const bool fresh = session.idle() && owners_.count_of(client) == 0 && !listeners_.has_any(client) &&
                     asked_.count_of(client) == 0 && held_.count_of(client) == 0 && waiting_.count_of(client) == 0 &&
                     policy_owner_ != client;
  if (!fresh) {
    return ipc::make_error(ipc::Reason::kInvalidArgument,
                           "a connection that becomes a channel has nothing else, and says nothing before the answer");
  }
  const auto channel = manager_ != nullptr ? tokens_.take(token, session.credentials().uid) : std::nullopt;
  if (!channel) {
    return ipc::make_error(ipc::Reason::kNotFound, "no such token, or its time is over, or its channel has ended");
  }
  ipc::Fd socket = session.hand_over(id, ipc::write_members(ipc::ChannelParams{*channel}));
  const bool attached = socket && manager_->channels().attach(*channel, std::move(socket)).ok();
  if (!attached) abandon(*channel, "the connection that was to become the channel has gone");
  return {};
}

/// Nobody has it, or will.
void IpcServer::abandon(proto::ChannelHandle channel, std::string_view text) {
  tokens_.forget(channel);
  if (manager_ != nullptr) (void)manager_->channels().close(channel, proto::Reason::kCancelled, text);
}

void IpcServer::expire_tokens() {
  for (const proto::ChannelHandle channel : tokens_.expired(context_.loop.now())) {
    abandon(channel, "nobody attached the channel in time");
  }
  token_timer_.arm(tokens_.next_deadline());
}

void IpcServer::abandon_tokens(ClientNumber client) {
  for (const proto::ChannelHandle channel : tokens_.of_client(client)) abandon(channel, "the application has gone");
}

}  // namespace connd::daemon
