// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtNode: one node of OpenDHT, with what it keeps on the DHT for as long as it lives. A node can be taken down and
/// another one made in its place (see reachability.h): what is kept is the client's, each node gets it anew. Private to
/// DhtClient. Used on the loop's thread but for `join` and `known`, which block.
#pragma once

#include <opendht.h>

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "proto/device_id.h"

namespace connd::daemon {

using DhtValues = std::vector<std::shared_ptr<dht::Value>>;
using DhtNodes = std::vector<std::shared_ptr<dht::Node>>;

/// A key of the DHT that we listen at, or what we have put there for good, or both.
struct DhtKept {
  dht::InfoHash key;
  dht::ValueCallback heard;         ///< empty: nobody listens. Called on OpenDHT's thread
  std::shared_ptr<dht::Value> put;  ///< null: nothing is put. Second owner: the node, one after the other
  bool answers = false;  ///< what we wait for may come here: it is asked for at the nodes, not from memory alone
  std::optional<proto::DeviceId> pair_peer{};  ///< the key is known to this peer and us alone
};

class DhtNode {
 public:
  dht::DhtRunner runner;

  void keep(const DhtKept& kept);
  /// Of a key that was kept to listen at. Nothing happens when it is none.
  void stop_listening(const dht::InfoHash& key);
  /// Asks for what is kept: that alone makes OpenDHT look for nodes that it listens at, or puts at. A listen is asked
  /// for from memory as long as it is in force, which costs no packet.
  void wake(const DhtKept& kept);
  /// Asks the nodes that store it, whatever is in memory: what a listen has missed is heard now, up to a bound.
  void ask(const DhtKept& kept);
  /// Asks the nodes for what was put: where it should be and is not OpenDHT puts it again.
  void check(const DhtKept& kept);
  /// Puts a value for a while. A put alone looks for no nodes where OpenDHT has given up those it knew for this key,
  /// and waits for ever: an outage would cost all requests to those who were called before it.
  void send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, dht::DoneCallback done);
  /// The same where we listen ourselves: `wake` has looked for nodes, and a put that waits is a test that has failed.
  void send_home(const dht::InfoHash& key, std::shared_ptr<dht::Value> value);
  /// One datagram to each: nodes that were given up are heard again when they answer.
  void greet(std::vector<dht::SockAddr> nodes);

  /// The good ones among those that it knows.
  [[nodiscard]] std::vector<dht::NodeExport> known() const { return runner.exportNodes(); }
  /// Ends its threads; once, whoever calls it.
  void join() {
    std::call_once(joined_, [this] { runner.join(); });
  }

 private:
  std::map<dht::InfoHash, std::shared_future<std::size_t>> listens_;  ///< by key: what OpenDHT knows the listen by
  // Not a lock over state: the join on a pool thread and the one in the client's destructor must not meet.
  std::once_flag joined_;
};

}  // namespace connd::daemon
