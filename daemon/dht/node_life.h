// SPDX-License-Identifier: GPL-3.0-or-later
/// NodeLife: the node of OpenDHT that there is: made, brought together with others, made anew on the same port where it
/// is deaf (when, says reachability.h), and ended. The nodes that it knows are kept over its life, in memory and in a
/// file.
///
/// connectivityChanged() of OpenDHT 2.4 is not called: it forgets what it knew of its neighbours and leaves the listens
/// as they are, which then have numbers that are no more, and drop all that comes (cured in 3.7.4). Nodes that were
/// given up are greeted instead: one that answers is good again.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/dht/dht_bootstrap.h"
#include "daemon/dht/dht_poster.h"
#include "daemon/dht/dht_setup.h"
#include "daemon/dht/dht_socket.h"
#include "daemon/dht/known_nodes.h"
#include "daemon/dht/node_use.h"

namespace connd::daemon {

/// The port of all nodes of a client, with the gate. Throws as DhtClient does.
std::shared_ptr<DhtPort> open_dht_port(const DhtConfig& config, const dht::InfoHash& node_id,
                                       const std::array<dht::InfoHash, 2>& own_keys,
                                       const std::vector<std::uint64_t>& signed_ids);

class NodeLife final : public NodeUse {
 public:
  struct Callbacks {
    /// There is a node, and it has somebody to begin with, or nobody in time: it can be asked, and was asked for
    /// nothing yet. Each node once. May come from `make`.
    std::function<void()> begun;
    /// In later turns, of the node that there is.
    std::function<void(dht::NodeStatus v4, dht::NodeStatus v6)> status;
    std::function<void(const dht::NodeInfo&)> stats;
    /// At which addresses other nodes see it: as PublicAddresses::told() wants them.
    std::function<void(std::vector<std::string>)> seen_at;
  };

  /// Makes no node yet. Throws as DhtClient does, for the bootstrap list.
  NodeLife(Loop& loop, DhtPoster poster, const DhtConfig& config, Callbacks callbacks);

  /// The first node. `types`: how it takes values, in place of what kept_types() says; `logger`: of OpenDHT's log, or
  /// null.
  struct First {
    dht::InfoHash node_id;
    std::shared_ptr<DhtPort> port;
    std::vector<dht::NodeExport> known;
    std::vector<dht::ValueType> types;
    std::shared_ptr<dht::Logger> logger;
  };
  void make(First first);
  /// Another one in its place, when this one has ended: what was asked of it is never over. Nothing, if there is none.
  void renew();

  /// Whether the node knows anybody, so that the bootstrap rests.
  void set_connected(bool connected) { bootstrap_.set_connected(connected); }
  /// It knows few others: the bootstrap is asked once more, at most each DhtConfig::ask_bootstrap_interval.
  void ask_bootstrap();
  void forget_unresolved() { bootstrap_.forget_unresolved(); }
  /// Some of the nodes that are known hear of us, one datagram each.
  void greet();
  /// It has good nodes: they are remembered, now and then.
  void remember_nodes();
  /// `Callbacks::stats` comes, and `seen_at`.
  void ask_stats();
  void network_changed();

  /// Saves the known nodes and ends the node; `done` is called once, in a later turn. Once.
  void end(std::function<void()> done);
  /// Waits for OpenDHT's threads. Nothing is called from now on.
  void close();

  [[nodiscard]] const DhtPort& port() const { return *first_.port; }
  /// 0: this family is not used.
  [[nodiscard]] std::uint16_t bound_port(sa_family_t family) const;
  [[nodiscard]] const DhtBootstrap& bootstrap() const { return bootstrap_; }

  // NodeUse
  [[nodiscard]] bool can_ask() const override { return node_ && begun_ == generation_; }
  void get(const dht::InfoHash& key, dht::ValueType::Id type, dht::Value::Filter filter, Values values,
           std::function<void()> over) override;
  void send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, std::function<void(bool)> over) override;
  void keep(const DhtKept& kept) override { node_->keep(kept); }
  void stop_listening(const dht::InfoHash& key) override;
  void stop_putting(const dht::InfoHash& key, dht::Value::Id id) override;
  void wake(const DhtKept& kept) override { node_->wake(kept); }
  void ask(const DhtKept& kept) override { node_->ask(kept); }
  void check(const DhtKept& kept) override { node_->check(kept); }
  /// See DhtNode; while it can be asked.
  void send_home(const dht::InfoHash& key, std::shared_ptr<dht::Value> value) {
    node_->send_home(key, std::move(value));
  }

 private:
  enum class Phase { kLives, kEnds, kJoins, kClosed };
  /// Which node something is about: what one that was taken down has to say comes late.
  using Generation = unsigned;

  static std::vector<DhtBootstrap::Place> places_of(const DhtConfig& config);
  void ping(const SocketAddress& address);
  void make_node();
  void begin_node();
  void make_node_again();
  dht::DhtRunner::Context context();
  void save();
  void join();
  void finish();

  Loop& loop_;
  DhtPoster poster_;
  DhtConfig config_;  ///< without the keys
  Callbacks callbacks_;
  First first_;
  DhtBootstrap bootstrap_;
  proto::TimePoint ask_bootstrap_at_;
  KnownNodes known_{{}};
  std::shared_ptr<DhtNode> node_;  ///< null while a new one is made. Second owner: work on the pool that saves or joins
  std::shared_ptr<DhtNode> ending_;  ///< the one before, until it has ended. Second owner: as above
  Generation generation_ = 0;
  Generation begun_ = 0;  ///< which node `begun` was told of: until then there may be nobody to ask
  Phase phase_ = Phase::kLives;
  Timer save_timer_;
  Timer grace_timer_;
  std::function<void()> ended_;
};

}  // namespace connd::daemon
