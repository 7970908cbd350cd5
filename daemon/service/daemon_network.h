// SPDX-License-Identifier: GPL-3.0-or-later
/// DaemonNetwork: what the daemon has once it has an identity: the DHT, its own port, and the connections with peers.
/// It joins, again where that fails, leaves for another identity, and ends.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "daemon/dht/dht_client.h"
#include "daemon/event_loop/edge_poller.h"
#include "daemon/event_loop/glib_bridge.h"
#include "daemon/event_loop/loop.h"
#include "daemon/event_loop/turn_queue.h"
#include "daemon/local_api/ipc_server.h"
#include "daemon/path/doors.h"
#include "daemon/service/own_port.h"
#include "daemon/settings/config.h"
#include "daemon/system/fd_limits.h"
#include "daemon/trust/identity_store.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// What all connections share, whatever identity they are of, and what channels that outlive theirs need.
struct ConnectionParts {
  explicit ConnectionParts(Loop& loop) : poller(loop), turns(loop), bridge(loop) {}

  EdgePoller poller;
  TurnQueue turns;
  GlibBridge bridge;
  PumpScratch scratch;
  HandleSources handles;
};

/// Used on the loop's thread.
class DaemonNetwork {
 public:
  struct Context {
    Loop& loop;
    ConnectionParts& parts;
    Stores& stores;
    EventHub& events;
    IpcServer& ipc;  ///< hears when there is a ConnectionManager, and when there is none any more
    const Config& config;
    const FdLimits& fds;
    const std::string& state_dir;
    StateDisk& disk;
  };

  /// All outlive this. `failed`: it cannot join, and waiting does not help; a line for the user.
  DaemonNetwork(const Context& context, std::function<void(const std::string&)> failed);

  /// Not to join before that time is over, for this reason.
  void hold_back(proto::Duration time, std::string reason);
  /// Joins with this identity, which stays where it is until `leave` has called back.
  void join(const LoadedIdentity& identity);
  /// Connections end properly, then the DHT; `left` then, once; maybe from here. Nothing, if it leaves already.
  void leave(std::function<void()> left);

  // The end of the daemon, in two steps; each calls back once. Nothing is joined from now on.
  void end_connections(std::function<void()> ended);
  void end_dht(std::function<void()> ended);
  /// All of it is gone after this.
  void close();

  /// Addresses of this machine have changed.
  void on_addresses(const std::vector<std::string>& addresses);
  /// The addresses are the same, but what is behind them may have been away, and know nothing of us any more.
  void on_stirred();
  /// The configuration has changed.
  void take_settings();
  /// Trust or revocations that could not be written are not in force any more.
  void lists_changed();

  /// It has joined, and does not leave.
  [[nodiscard]] bool ready() const { return up_ && !leaving_; }
  /// Null while it has not joined.
  [[nodiscard]] const DhtStatus* dht() const { return up_ ? &up_->dht->status() : nullptr; }
  [[nodiscard]] const ConnectionManager* manager() const { return up_ ? up_->manager.get() : nullptr; }
  [[nodiscard]] const Doors* doors() const { return up_ ? &*up_->doors : nullptr; }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  /// Why it has not joined, a line each; none while all is well.
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  struct Up {
    std::unique_ptr<DhtClient> dht;
    std::unique_ptr<FrontDoor> door;
    std::unique_ptr<MappingProbe> probe;
    std::optional<MappingProbe::Question> first_look;  ///< so that the first attempt need not wait for it
    std::optional<Doors> doors;
    std::unique_ptr<ConnectionManager> manager;
  };
  using Beginning = Outcome<std::shared_ptr<const DhtBeginning>>;

  void read_beginning();
  void on_beginning(const Beginning& beginning);
  Outcome<void> start(const Beginning& beginning);
  [[nodiscard]] DhtHandlers dht_handlers();
  void on_left(const std::function<void()>& left);

  const Context context_;
  std::function<void(const std::string&)> failed_;
  OwnPort port_;
  const LoadedIdentity* identity_ = nullptr;  ///< with which it joins
  std::unique_ptr<Up> up_;
  std::uint64_t attempts_ = 0;  ///< to join: what was read for one that is over is of no use
  proto::TimePoint join_at_{};  ///< not before
  std::string held_back_;       ///< why
  std::string problem_;         ///< why it has failed
  bool leaving_ = false;
  std::function<void()> left_and_ended_;  ///< the daemon ends while it leaves
  std::uint64_t changes_ = 0;             ///< of addresses
  Timer retry_;
};

}  // namespace connd::daemon
