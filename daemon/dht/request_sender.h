// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestSender: requests and answers on their way out: signed and encrypted on the pool, then put where the peer
/// listens. At most kMaxSends at a time; of more kMaxUnsent wait, of at most kMaxUnsentBytes.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/dht_setup.h"
#include "daemon/dht/node_use.h"

namespace connd::daemon {

class RequestSender {
 public:
  using Done = std::function<void(bool stored)>;

  /// `key` signs, on several threads of the pool at a time. The node outlives this.
  RequestSender(DhtPoster poster, NodeUse& node, std::shared_ptr<dht::crypto::PrivateKey> key);

  /// See DhtClient::send_request.
  void send(proto::Bytes peer_key_der, proto::Bytes body, RequestKeys keys,
            const std::vector<proto::PairKey>& pair_keys, Done done);
  /// There is a node, which was given nothing yet: what is sealed is put again.
  void take_up();

  /// From now on each fails, in a later turn.
  void stop() { stopped_ = true; }
  /// Those that are there fail. Their callbacks may destroy the client.
  void end_all();
  /// Nobody is told of them any more.
  void clear();

 private:
  struct Send {
    Done done;
    std::shared_ptr<const Sealing> sealed;  ///< once it is; second owner: the pool, until then
    int pending = 0;                        ///< keys at which no node has it yet
  };
  /// Of sends_, but not begun.
  struct Unsent {
    std::uint64_t id;
    std::shared_ptr<Sealing> job;
  };

  void begin_unsent();
  void begin(std::uint64_t id, const std::shared_ptr<Sealing>& job);
  void on_sealed(std::uint64_t id, const std::shared_ptr<const Sealing>& sealed);
  void put(std::uint64_t id);
  void on_put_end(std::uint64_t id, bool ok);
  void finish(std::uint64_t id, bool ok);

  DhtPoster poster_;
  NodeUse& node_;
  std::shared_ptr<dht::crypto::PrivateKey> key_;  // second owner: work on the pool
  std::map<std::uint64_t, Send> sends_;
  std::deque<Unsent> unsent_;
  std::size_t unsent_bytes_ = 0;  ///< of their bodies
  std::uint64_t next_id_ = 1;
  bool stopped_ = false;
};

}  // namespace connd::daemon
