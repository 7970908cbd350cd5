// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionRequests: the door. Peers' requests for a connection as they come from the DHT: each is judged once
/// (RequestGate), and answered, or refused in the log, in the events and in the list of those who knocked.
#pragma once

#include <map>
#include <random>
#include <string_view>
#include <utility>

#include "daemon/connection/connector.h"
#include "daemon/connection/knocks.h"
#include "daemon/connection/manager_context.h"
#include "daemon/connection/refusal_log.h"
#include "daemon/connection/request_saver.h"

namespace connd::daemon {

/// Lives on the loop's thread. All that it is given outlives it.
class ConnectionRequests {
 public:
  ConnectionRequests(const ManagerContext& context, const ManagerSettings& settings, KnownChains& chains,
                     Connector& connector);

  void on_request(const SignalMessage& message, proto::ConnectionRequest request);
  /// The local client's answer to a question. False when the question is over.
  bool answer(std::uint64_t question, bool accept) { return gate_.answer(question, accept); }
  void set_settings(const GateSettings& settings) { gate_.set_settings(settings); }
  /// Trust or revocation lists changed.
  void trust_changed();
  /// It is connected: its knocks are forgotten.
  void let_in(const proto::DeviceId& device);
  /// What has been seen is written down, if it is time.
  void save() { saver_.on_change(); }
  /// Nobody is answered any more.
  void stop();

  /// Who asked for a connection lately, and was turned away.
  [[nodiscard]] const Knocks& knocks() const { return knocks_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_count_; }

 private:
  void answer(const SignalMessage& message, const proto::ConnectionRequest& request, Trust trust);
  void refused(const proto::DeviceId& device, proto::Reason reason, std::string_view text);
  void turn_away(const proto::DeviceId& device, std::uint64_t request, std::string_view text);
  bool waits_for_room(const proto::DeviceId& device, std::uint64_t request);

  const ManagerContext& context_;
  KnownChains& chains_;
  Connector& connector_;
  RequestGate gate_;
  RequestSaver saver_;
  /// When requests were refused for want of room, by device and request.
  std::map<std::pair<proto::DeviceId, std::uint64_t>, proto::TimePoint> turned_away_;
  std::mt19937_64 random_{std::random_device{}()};
  RefusalLog refusal_log_;
  Knocks knocks_;
  std::uint64_t refused_count_ = 0;
  bool stopped_ = false;
};

}  // namespace connd::daemon
