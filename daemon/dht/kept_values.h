// SPDX-License-Identifier: GPL-3.0-or-later
/// KeptValues: what each node of ours is given anew: the keys that it listens at, and what it puts for good. They are
/// the client's own, those that it shares with peers, and the records that it publishes.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "daemon/dht/answer_watch.h"
#include "daemon/dht/node_use.h"
#include "proto/bytes.h"
#include "proto/pair_key.h"

namespace connd::daemon {

class KeptValues {
 public:
  /// The listen at a key that is shared with a peer.
  using PairListen = std::function<DhtKept(const dht::InfoHash& key, const proto::DeviceId& peer)>;

  /// The node outlives this.
  KeptValues(NodeUse& node, PairListen pair_listen);

  /// From now on each node has it, and the one that there is.
  void keep(DhtKept kept);
  /// See DhtClient::publish and listen_pairs.
  void publish(const std::string& name, proto::Bytes data);
  void listen_pairs(const std::vector<proto::PairListen>& wanted);

  /// There is a node, which was given nothing yet.
  void give();
  /// See DhtNode: the listens from memory; all from the nodes; those by which the answers come that are awaited.
  void wake_listens();
  void ask_all();
  void look_for(const AnswerWatch& answers);

  /// The ids of what is put that is signed.
  [[nodiscard]] std::vector<std::uint64_t> signed_ids() const;

 private:
  void unlisten(const dht::InfoHash& key);

  NodeUse& node_;
  PairListen pair_listen_;
  std::vector<DhtKept> kept_;
  std::map<dht::InfoHash, proto::DeviceId> pairs_;   ///< what of kept_ is shared with whom; at most kMaxPairListens
  std::minstd_rand chance_{std::random_device{}()};  ///< which of its ids a record has here
};

}  // namespace connd::daemon
