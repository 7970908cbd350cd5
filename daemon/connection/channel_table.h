// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelTable: one record for each channel of all connections, from the peer's request, or the peer's answer to ours,
/// to its end. The local side asks here for what it does with its channels.
///
/// Who is told: of each request that was told to ChannelApps, that it was cancelled, or nothing once it is accepted or
/// refused; of each channel, its end, once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "daemon/connection/channel_apps.h"
#include "daemon/connection/left_channels.h"
#include "daemon/connection/multiplexed_socket.h"
#include "daemon/connection/open_request.h"
#include "daemon/trust/trust_scope.h"

namespace connd::daemon {

struct ChannelView {
  proto::ChannelHandle channel;
  proto::DeviceId device;
  proto::AccountId account;
  const std::string& uri;
  bool outgoing;
  std::uint64_t bytes_in;
  std::uint64_t bytes_out;
  proto::TimePoint since;
};

/// Lives on the loop's thread.
class ChannelTable {
 public:
  /// A channel, or a request that waits for the local side.
  struct Record {
    MultiplexedSocket* connection;  ///< null: it is one of those that their connection has left
    proto::DeviceId device;
    proto::AccountId account;
    std::string uri;
    bool outgoing;
    bool accepted;
    proto::TimePoint since;
  };

  /// `context` and `apps` outlive it. `max_left_bytes`: as LeftChannels.
  ChannelTable(const ConnectionContext& context, ChannelApps& apps, std::uint64_t max_left_bytes);

  // ---- for the local side; each costs the same however many channels there are ----

  /// The app's end, or why not (the peer took it back; no fd).
  std::variant<ipc::Fd, OpenError> accept(proto::ChannelHandle channel, const ChannelOptions& options);
  void refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  /// Gives a channel that was opened or accepted detached the daemon's end of what its app has. An error: it has ended,
  /// or the fd cannot be watched.
  proto::Result<void> attach(proto::ChannelHandle channel, ipc::Fd fd);
  /// False when there is no such channel.
  bool finish(proto::ChannelHandle channel);
  bool close(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);

  // ---- from the connections, which outlive what they have here ----

  /// A peer asks; the caller tells the local side.
  void requested(MultiplexedSocket& connection, proto::ChannelHandle channel, const proto::AccountId& account,
                 const std::string& uri);
  /// A channel that we asked for, or one of the peer's that an open of ours takes, has its fd.
  void opened(MultiplexedSocket& connection, proto::ChannelHandle channel, const proto::AccountId& account,
              const std::string& uri);
  /// The peer took its request back.
  void request_cancelled(proto::ChannelHandle channel, proto::Reason reason);
  void ended(const ChannelEnd& end);
  /// As MultiplexedSocket::Owner::on_channel_left.
  void left(std::unique_ptr<ChannelSocket>& channel);
  /// Its channels have ended or were left; requests that nobody has answered yet go with it.
  void connection_gone(const MultiplexedSocket& connection, proto::Reason reason);
  /// Another scope of trust: what the peer opened as one that is trusted for it, and is no more, ends. What a listener
  /// took of it for other reasons stays.
  void scope_changed(const MultiplexedSocket& connection, const TrustScope& before, const TrustScope& now);
  /// No channel outlives its connection from now on; those that do are closed.
  void stop(proto::Reason reason, std::string_view text);

  // ---- for status ----

  void each(const std::function<void(const ChannelView&)>& visit) const;
  /// The same of one, if it is open.
  void see(proto::ChannelHandle channel, const std::function<void(const ChannelView&)>& visit) const;
  [[nodiscard]] std::size_t size() const { return records_.size(); }
  /// Of their names together.
  [[nodiscard]] std::size_t name_bytes() const { return name_bytes_; }
  /// Of those that the peer has asked for on this connection.
  [[nodiscard]] std::size_t name_bytes_asked(const MultiplexedSocket& connection) const;
  /// Since the table was made.
  [[nodiscard]] std::uint64_t begun() const { return begun_; }
  [[nodiscard]] std::uint64_t reset() const { return reset_; }
  [[nodiscard]] std::uint64_t stalled() const { return stalled_; }

 private:
  using Records = std::unordered_map<proto::ChannelHandle, Record>;
  /// What one connection has here.
  struct Theirs {
    std::unordered_set<proto::ChannelHandle> channels;
    std::size_t name_bytes_asked = 0;
  };

  void add(proto::ChannelHandle channel, Record record);
  void erase(Records::iterator it);
  /// It belongs to its connection no more.
  void take_from_connection(const Records::value_type& item);
  /// What `connection` has here.
  [[nodiscard]] std::vector<proto::ChannelHandle> of(const MultiplexedSocket& connection) const;
  void see(const Records::value_type& item, const std::function<void(const ChannelView&)>& visit) const;

  const ConnectionContext& context_;
  ChannelApps& apps_;
  Records records_;
  std::unordered_map<const MultiplexedSocket*, Theirs> by_connection_;
  LeftChannels left_;
  bool stopped_ = false;
  std::size_t name_bytes_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t reset_ = 0;
  std::uint64_t stalled_ = 0;
};

}  // namespace connd::daemon
