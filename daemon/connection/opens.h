// SPDX-License-Identifier: GPL-3.0-or-later
/// Opens: the way of each open of the local side. It waits for a connection with its peer, or with any device of an
/// account, then for the peer's answer; a connection that dies under it is dialled once more.
///
/// Reported once: each open gets its callback once.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/connection/channel_table.h"
#include "daemon/connection/connector.h"
#include "daemon/connection/held_requests.h"
#include "daemon/connection/open_request.h"
#include "daemon/connection/paced_opens.h"
#include "daemon/connection/peer_connections.h"

namespace connd::daemon {

/// Lives on the loop's thread. All that it is given outlives it.
class Opens {
 public:
  Opens(const ManagerContext& context, const ManagerSettings& settings, const proto::DeviceId& own, KnownChains& chains,
        PeerConnections& connections, ChannelTable& channels, Connector& connector, HeldRequests& held);

  // ---- for the local side ----

  /// As ConnectionManager::open.
  std::variant<OpenNumber, OpenError> open(OpenRequest request, std::function<void(OpenResult)> done);
  /// As ConnectionManager::cancel_open.
  bool cancel(OpenNumber open, proto::Reason reason);
  /// Those that are for this device.
  void cancel_for(const proto::DeviceId& device, proto::Reason reason);
  /// None begins any more; those that there are end.
  void stop(proto::Reason reason);

  // ---- from connections and calls ----

  /// A connection with the device is up: those that wait for it go on.
  void connected(const proto::DeviceId& device);
  /// The peer's answer to a channel that was asked for.
  void answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason, const std::string& text);
  /// Those that waited for an answer on it ask elsewhere, once.
  void connection_gone(ConnectionNumber connection, proto::Reason reason, const std::string& text);
  /// As Connector::Owner::call_failed.
  void call_failed(const proto::DeviceId& device, const AttemptFailure& failure);
  /// As Connector::Owner::call_is_wanted: those whose time is over at this very moment end with `failure`; the others
  /// have some left for a fresh attempt.
  bool call_is_wanted(const proto::DeviceId& device, const AttemptFailure& failure);
  /// If nobody waits for this peer any more, the call that was made for them ends.
  void give_up_calling(const proto::DeviceId& device);

  // ---- unique channels over several connections (opens_unique.cpp) ----

  /// A peer's unique request while there is a unique channel of that name on another connection. True: it needs no
  /// listener.
  bool crosses(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri);
  /// An open of ours that was to have another channel, or none, takes what is held.
  void take_held(OpenNumber number);

  [[nodiscard]] std::size_t size() const { return opens_.size(); }
  /// Of their names together.
  [[nodiscard]] std::size_t name_bytes() const { return name_bytes_; }
  /// Since the object was made.
  [[nodiscard]] std::uint64_t begun() const { return next_ - 1; }
  /// Their connection died under them.
  [[nodiscard]] std::uint64_t redialled() const { return redialled_; }

 private:
  struct Pending {
    OpenRequest request;
    std::function<void(OpenResult)> done;
    proto::TimePoint deadline;
    /// Devices of an account that are being tried; empty once one of them is `request.peer`.
    std::set<proto::DeviceId> candidates;
    bool searching = false;            ///< for devices of the account
    std::optional<OpenError> failure;  ///< of a device of the account; others are still tried
    ConnectionNumber connection = 0;   ///< 0: waits for one
    proto::ChannelHandle channel = 0;
    bool redialled = false;
    bool asked_again = false;  ///< after a refusal as a duplicate

    /// Those that it may wait for.
    [[nodiscard]] std::set<proto::DeviceId> devices() const {
      std::set<proto::DeviceId> all = candidates;
      all.insert(request.peer);
      return all;
    }
  };
  [[nodiscard]] std::optional<OpenError> refusal(const OpenRequest& request) const;
  [[nodiscard]] Pending* find(OpenNumber number);
  void place(OpenNumber number);
  void wait_for_connection(OpenNumber number, Pending& open);
  void wait_for(OpenNumber number, const proto::DeviceId& device);
  void leave_waiting(OpenNumber number, const proto::DeviceId& device);
  void leave_connection(OpenNumber number, Pending& open);
  /// It does not wait for that channel's answer any more. True when nobody does.
  bool leave_channel(OpenNumber number, proto::ChannelHandle channel);
  void accepted(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket);
  void deliver(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket,
               proto::Result<ipc::Fd> fd);
  bool ask_again(OpenNumber number, proto::Reason reason);
  void redial_or_fail(OpenNumber number, proto::Reason reason, const std::string& text);
  void complete(OpenNumber number, OpenResult result);
  bool end(OpenNumber number, OpenError error);
  void expire();
  void arm();
  [[nodiscard]] OpenError timed_out(const Pending& open) const;
  [[nodiscard]] PeerConnections::UniqueChannel unique_channel(const proto::DeviceId& device, const std::string& uri,
                                                              const MultiplexedSocket* besides) const;

  // to accounts (opens_accounts.cpp)
  void search_devices(OpenNumber number, Pending& open);
  void device_found(OpenNumber number, const FoundDevice& found);
  void search_over(OpenNumber number);
  void settle_on(OpenNumber number, const proto::DeviceId& device);
  void candidate_failed(OpenNumber number, const proto::DeviceId& device, const AttemptFailure& failure);

  const ManagerContext& context_;
  const ManagerSettings& settings_;
  const proto::DeviceId own_;
  KnownChains& chains_;
  PeerConnections& connections_;
  ChannelTable& channels_;
  Connector& connector_;
  HeldRequests& held_;

  std::unordered_map<OpenNumber, Pending> opens_;
  std::set<std::pair<proto::TimePoint, OpenNumber>> deadlines_;
  std::unordered_map<proto::DeviceId, std::set<OpenNumber>> waiting_;           ///< for a connection
  std::unordered_map<ConnectionNumber, std::set<OpenNumber>> asked_;            ///< that wait for the peer's answer
  std::unordered_map<proto::ChannelHandle, std::vector<OpenNumber>> resolves_;  ///< opens that a channel resolves
  PacedOpens paced_;
  std::size_t name_bytes_ = 0;
  OpenNumber next_ = 1;
  OpenNumber beginning_ = 0;  ///< whose open() has not returned
  std::uint64_t redialled_ = 0;
  bool stopped_ = false;
  Timer deadline_;  ///< the next open's
};

}  // namespace connd::daemon
