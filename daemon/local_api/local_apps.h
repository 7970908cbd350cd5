// SPDX-License-Identifier: GPL-3.0-or-later
/// LocalApps: who listens on this machine, who has which channel, and what peers' requests wait for.
///
/// It knows its ChannelTakers by number and owns none of them. A peer's request goes to the listener that matches: at
/// once, or after its taker was asked, or, where the taker does not collect its descriptors, when there is room.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/asked_requests.h"
#include "daemon/local_api/attachments.h"
#include "daemon/local_api/channel_owners.h"
#include "daemon/local_api/channel_taker.h"
#include "daemon/local_api/control_turns.h"
#include "daemon/local_api/event_feed.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/local_api/listener_table.h"
#include "daemon/local_api/pending_opens.h"

namespace connd::daemon {

class LocalApps final : public ChannelApps {
 public:
  struct Context {
    Loop& loop;
    const IpcSettings& settings;  ///< may change: see settings_changed()
    ControlTurns& turns;          ///< what is done for a taker is its user's time
    EventFeed& feed;
    Attachments& attachments;
    const PendingOpens& opens;  ///< each may become a channel
  };
  explicit LocalApps(const Context& context);

  /// Null: there is none, and nothing comes from peers.
  void set_manager(ConnectionManager* manager) { manager_ = manager; }
  /// From now on: what is there already may be more than a new limit.
  void settings_changed();

  // ---- takers ----

  /// For one that is to join.
  ClientNumber new_number() { return next_++; }
  /// It stays where it is until leave(), before which all was taken back.
  void join(ChannelTaker& taker);
  /// Takes back what one that is about to leave has asked for, a piece at a time: false while there is more. Its
  /// channels live on as long as their fds.
  bool take_back(ClientNumber taker);
  /// It is not known any more, and may be destroyed.
  void leave(ClientNumber taker) { takers_.erase(taker); }
  /// Null: it has left.
  [[nodiscard]] ChannelTaker* find(ClientNumber taker) const;
  /// Accepts a piece of those that were held back for it and for which there is room now. True: there may be more.
  bool accept_held(ChannelTaker& taker);
  /// Nothing of it is here but itself: no channel, listener or request.
  [[nodiscard]] bool fresh(ClientNumber taker) const;

  // ---- its listeners and requests ----

  [[nodiscard]] ListenerTable& listeners() { return listeners_; }
  [[nodiscard]] const ListenerTable& listeners() const { return listeners_; }
  /// Ends the listener; requests that wait for it are declined.
  void remove_listener(ListenerNumber listener);
  /// Takes a request that this taker was asked about; nothing when it was not, or the request is over.
  std::optional<AskedRequest> take_asked(ClientNumber taker, proto::ChannelHandle channel);
  [[nodiscard]] const AskedRequests& asked() const { return asked_; }
  /// Channels that listeners take unasked, and that are not accepted until their takers have taken those before.
  [[nodiscard]] const AskedRequests& held() const { return held_; }
  /// A peer's request for this channel waits, whatever for.
  [[nodiscard]] bool asks_about(proto::ChannelHandle channel) const {
    return asked_.find(channel) != nullptr || held_.find(channel) != nullptr;
  }
  /// Peers' requests that were refused with busy for a taker's sake.
  [[nodiscard]] std::uint64_t refused_busy() const { return refused_busy_; }

  // ---- channels ----

  /// It has one more: the fd goes to it in what it is told next.
  void own(const ChannelTaker& taker, proto::ChannelHandle channel, OwnedChannel owned);
  /// Whoever opened it has gone. Its fd closes, and with it the channel.
  void own_nobodys(const OpenedChannel& opened);
  [[nodiscard]] const ChannelOwners& owners() const { return owners_; }
  /// The channel's owner if the taker may know of it: itself, or an administrator. Else null.
  [[nodiscard]] const OwnedChannel* visible(const ChannelTaker& taker, proto::ChannelHandle channel) const;
  /// What it has, opens, and was asked about counts.
  [[nodiscard]] bool has_all_channels(const ChannelTaker& taker) const;
  /// The same of its user. Administrators have no share: they may close others' channels.
  [[nodiscard]] bool user_has_all_channels(const ChannelTaker& taker) const;

  // ChannelApps
  void on_channel_requested(const IncomingChannel& request) override;
  void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) override;
  void on_channel_closed(const ChannelEnd& end) override;
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle channel) const override;

 private:
  void accept_at_once(ChannelTaker& taker, const Listener& listener, const IncomingChannel& request);
  void ask(ChannelTaker& taker, const Listener& listener, const IncomingChannel& request);
  [[nodiscard]] AskedRequest waiting(const ChannelTaker& taker, const Listener& listener,
                                     const IncomingChannel& request) const;
  [[nodiscard]] bool room_for_another_fd(const ChannelTaker& taker) const;
  void hold(const ChannelTaker& taker, const Listener& listener, const IncomingChannel& request);
  void refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  void arm_timer();
  void expire();

  const Context context_;
  ConnectionManager* manager_ = nullptr;
  std::unordered_map<ClientNumber, ChannelTaker*> takers_;
  ClientNumber next_ = 1;
  ListenerTable listeners_;
  ChannelOwners owners_;
  AskedRequests asked_;
  AskedRequests held_;  ///< for listeners that take all: they wait for room_for_another_fd
  std::uint64_t refused_busy_ = 0;
  Timer timer_;  ///< of what is asked or held
};

}  // namespace connd::daemon
