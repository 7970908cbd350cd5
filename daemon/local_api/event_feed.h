// SPDX-License-Identifier: GPL-3.0-or-later
/// EventFeed: what happens, to those who have subscribed: from the EventHub, and about local channels.
///
/// Nothing is made while nobody listens: the hub has a sink only then. What all read is written once, and numbered by
/// each subscriber for itself.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "daemon/connection/event_hub.h"
#include "daemon/event_loop/loop.h"
#include "daemon/local_api/channel_owners.h"
#include "daemon/local_api/refusal_meter.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

class EventFeed {
 public:
  class Subscriber {
   public:
    [[nodiscard]] virtual ClientNumber number() const = 0;
    /// Hears of others' channels, of trust, and of who was refused.
    [[nodiscard]] virtual bool admin() const = 0;
    /// `members`: the event's, as JSON, without the braces around them and without a number. It may not unsubscribe
    /// anybody from here.
    virtual void event(std::string_view members) = 0;

   protected:
    ~Subscriber() = default;
  };

  /// It is the only sink of `hub`, which outlives it.
  EventFeed(Loop& loop, EventHub& hub, const Stores& stores);
  ~EventFeed();
  void set_manager(const ConnectionManager* manager) { manager_ = manager; }

  /// Events from now on, until it is unsubscribed; nothing happens if it is already.
  void subscribe(Subscriber& subscriber);
  void unsubscribe(ClientNumber subscriber);
  [[nodiscard]] bool heard() const { return !subscribers_.empty(); }

  // ---- local channels: their owners and administrators hear of them ----

  void channel_opened(proto::ChannelHandle channel, const OwnedChannel& owned);
  void channel_closed(const ChannelEnd& end, const OwnedChannel& owned);

 private:
  /// Who hears of an event.
  enum class Audience : std::uint8_t { kAll, kAdmins };

  void on_event(const std::string& type, const nlohmann::json& data);
  void on_refused(const nlohmann::json& data);
  [[nodiscard]] nlohmann::json connected(const nlohmann::json& data) const;
  void broadcast(const std::string& type, const nlohmann::json& members, Audience audience);
  void report(const std::vector<RefusalMeter::Report>& reports);

  Loop& loop_;
  EventHub& hub_;
  const Stores& stores_;
  const ConnectionManager* manager_ = nullptr;
  std::map<ClientNumber, Subscriber*> subscribers_;
  RefusalMeter refusals_;
  Timer refusal_timer_;
};

}  // namespace connd::daemon
