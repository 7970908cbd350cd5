// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/channel_table.h"

#include "proto/error.h"

namespace connd::daemon {

ChannelTable::ChannelTable(const ConnectionContext& context, ChannelApps& apps, std::uint64_t max_left_bytes)
    : context_(context),
      apps_(apps),
      left_(context.turns, max_left_bytes, [this](const ChannelEnd& end) { ended(end); }) {}

// ---- the local side ----

std::variant<ipc::Fd, OpenError> ChannelTable::accept(proto::ChannelHandle channel, const ChannelOptions& options) {
  const auto it = records_.find(channel);
  if (it == records_.end() || it->second.accepted) return OpenError{proto::Reason::kNotFound, "the request is over"};
  auto fd = it->second.connection->channels().accept(channel, options);
  if (!fd) {
    erase(it);
    const std::error_code error = fd.error();
    const bool over = error == proto::Errc::kGoingAway || error == std::errc::operation_canceled;
    return OpenError{over ? proto::Reason::kNotFound : proto::Reason::kResourceLimit, error.message()};
  }
  it->second.accepted = true;
  return std::move(*fd);
}

void ChannelTable::refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto it = records_.find(channel);
  if (it == records_.end() || it->second.accepted) return;
  it->second.connection->channels().refuse(channel, reason, text);
  erase(it);
}

proto::Result<void> ChannelTable::attach(proto::ChannelHandle channel, ipc::Fd fd) {
  const auto it = records_.find(channel);
  if (it == records_.end() || !it->second.accepted) return std::make_error_code(std::errc::operation_canceled);
  MultiplexedSocket* connection = it->second.connection;
  if (connection == nullptr) return left_.attach_app(channel, std::move(fd), context_.poller);
  return connection->channels().attach_app(channel, std::move(fd));
}

bool ChannelTable::finish(proto::ChannelHandle channel) {
  const auto it = records_.find(channel);
  if (it == records_.end()) return false;
  // One that was left has ended already.
  return it->second.connection == nullptr || it->second.connection->channels().finish(channel);
}

bool ChannelTable::close(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto it = records_.find(channel);
  if (it == records_.end()) return false;
  if (it->second.connection == nullptr) return left_.close(channel, reason, text);
  return it->second.connection->channels().close(channel, reason, text);
}

// ---- the connections ----

void ChannelTable::requested(MultiplexedSocket& connection, proto::ChannelHandle channel,
                             const proto::AccountId& account, const std::string& uri) {
  add(channel, {&connection, connection.peer(), account, uri, false, false, context_.loop.now()});
}

void ChannelTable::opened(MultiplexedSocket& connection, proto::ChannelHandle channel, const proto::AccountId& account,
                          const std::string& uri) {
  add(channel, {&connection, connection.peer(), account, uri, true, true, context_.loop.now()});
}

void ChannelTable::request_cancelled(proto::ChannelHandle channel, proto::Reason reason) {
  const auto it = records_.find(channel);
  if (it == records_.end()) return;
  erase(it);
  apps_.on_channel_request_cancelled(channel, reason);
}

void ChannelTable::ended(const ChannelEnd& end) {
  if (const auto it = records_.find(end.channel); it != records_.end()) erase(it);
  if (end.reason == proto::Reason::kReset) ++reset_;
  if (end.reason == proto::Reason::kStalled) ++stalled_;
  apps_.on_channel_closed(end);
}

void ChannelTable::left(std::unique_ptr<ChannelSocket>& channel) {
  const auto it = records_.find(channel->handle());
  if (stopped_ || it == records_.end() || !left_.take(channel)) return;
  take_from_connection(*it);
  it->second.connection = nullptr;
}

void ChannelTable::connection_gone(const MultiplexedSocket& connection, proto::Reason reason) {
  for (const proto::ChannelHandle channel : of(connection)) request_cancelled(channel, reason);
}

void ChannelTable::scope_changed(const MultiplexedSocket& connection, const TrustScope& before, const TrustScope& now) {
  constexpr std::string_view kWhy = "the one who opened it is not trusted for this name any more";
  for (const proto::ChannelHandle channel : of(connection)) {
    // The end of one may have been the end of another.
    const auto it = records_.find(channel);
    if (it == records_.end() || it->second.outgoing) continue;
    if (!before.covers(it->second.uri) || now.covers(it->second.uri)) continue;
    if (it->second.accepted) {
      (void)close(channel, proto::Reason::kNotPermitted, kWhy);
    } else {
      refuse(channel, proto::Reason::kNotPermitted, kWhy);
      apps_.on_channel_request_cancelled(channel, proto::Reason::kNotPermitted);
    }
  }
}

void ChannelTable::stop(proto::Reason reason, std::string_view text) {
  stopped_ = true;
  left_.close_all(reason, text);
}

void ChannelTable::add(proto::ChannelHandle channel, Record record) {
  Theirs& theirs = by_connection_[record.connection];
  theirs.channels.insert(channel);
  if (!record.outgoing) theirs.name_bytes_asked += record.uri.size();
  name_bytes_ += record.uri.size();
  records_.emplace(channel, std::move(record));
  ++begun_;
}

void ChannelTable::erase(Records::iterator it) {
  take_from_connection(*it);
  name_bytes_ -= it->second.uri.size();
  records_.erase(it);
}

void ChannelTable::take_from_connection(const Records::value_type& item) {
  const auto& [channel, record] = item;
  const auto theirs = by_connection_.find(record.connection);
  if (theirs == by_connection_.end() || theirs->second.channels.erase(channel) == 0) return;
  if (!record.outgoing) theirs->second.name_bytes_asked -= record.uri.size();
  if (theirs->second.channels.empty()) by_connection_.erase(theirs);
}

std::vector<proto::ChannelHandle> ChannelTable::of(const MultiplexedSocket& connection) const {
  const auto theirs = by_connection_.find(&connection);
  if (theirs == by_connection_.end()) return {};
  return {theirs->second.channels.begin(), theirs->second.channels.end()};
}

std::size_t ChannelTable::name_bytes_asked(const MultiplexedSocket& connection) const {
  const auto theirs = by_connection_.find(&connection);
  return theirs == by_connection_.end() ? 0 : theirs->second.name_bytes_asked;
}

// ---- for status ----

void ChannelTable::each(const std::function<void(const ChannelView&)>& visit) const {
  for (const auto& item : records_) see(item, visit);
}

void ChannelTable::see(proto::ChannelHandle channel, const std::function<void(const ChannelView&)>& visit) const {
  if (const auto it = records_.find(channel); it != records_.end()) see(*it, visit);
}

void ChannelTable::see(const Records::value_type& item, const std::function<void(const ChannelView&)>& visit) const {
  const auto& [handle, record] = item;
  const ChannelSocket* channel =
      record.connection == nullptr ? left_.find(handle) : record.connection->channels().find(handle);
  if (channel == nullptr) return;
  visit({handle, record.device, record.account, record.uri, record.outgoing, channel->bytes_in(), channel->bytes_out(),
         record.since});
}

}  // namespace connd::daemon
