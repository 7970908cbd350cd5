// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/attachments.h"

#include <cerrno>

#include <sys/random.h>

namespace connd::daemon {

Attachments::Attachments(Loop& loop, const IpcSettings& settings)
    : loop_(loop), settings_(settings), timer_(loop, [this] { expire(); }) {}

std::optional<ipc::Error> Attachments::no_room(const ChannelTaker& taker) const {
  auto full = tokens_.no_room(taker.number(), taker.credentials().uid, settings_.places, taker.admin());
  if (!full) return std::nullopt;
  return ipc::make_error(ipc::Reason::kResourceLimit, *std::move(full));
}

std::string Attachments::make(const ChannelTaker& taker, proto::ChannelHandle channel) {
  AttachTokens::Random random;
  // So few bytes come whole, and a daemon that speaks TLS has waited for the kernel's source long ago.
  while (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    if (errno != EINTR) return {};  // a token that nobody can show: the channel's time runs out
  }
  std::string token = tokens_.add(channel, taker.number(), taker.credentials().uid, loop_.now(), random);
  timer_.arm(tokens_.next_deadline());
  return token;
}

std::optional<proto::ChannelHandle> Attachments::take(std::string_view token, uid_t uid) {
  return manager_ != nullptr ? tokens_.take(token, uid) : std::nullopt;
}

void Attachments::attach(proto::ChannelHandle channel, ipc::Fd socket) {
  if (socket && manager_ != nullptr && manager_->channels().attach(channel, std::move(socket)).ok()) return;
  abandon(channel, "the connection that was to become the channel has gone");
}

void Attachments::abandon(proto::ChannelHandle channel, std::string_view text) {
  tokens_.forget(channel);
  if (manager_ != nullptr) (void)manager_->channels().close(channel, proto::Reason::kCancelled, text);
}

void Attachments::abandon_all(ClientNumber client) {
  for (const proto::ChannelHandle channel : tokens_.of_client(client)) abandon(channel, "the application has gone");
}

void Attachments::expire() {
  for (const proto::ChannelHandle channel : tokens_.expired(loop_.now())) {
    abandon(channel, "nobody attached the channel in time");
  }
  timer_.arm(tokens_.next_deadline());
}

}  // namespace connd::daemon
