// SPDX-License-Identifier: GPL-3.0-or-later
/// LoadDht: one node of the DHT that sends and hears for many devices. A node for each would fill the others' routing
/// tables with what is gone a second later; requests and answers are the same bytes as from nodes of their own.
#pragma once

#include <opendht.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "daemon/dht/dht_setup.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"

namespace connd::test {

class LoadDht {
 public:
  using OnMessage = std::function<void(const daemon::SignalMessage&)>;

  /// `bootstrap` is HOST:PORT. Throws std::runtime_error.
  LoadDht(daemon::Loop& loop, const std::string& bootstrap);
  ~LoadDht();

  /// What comes for `device` is opened with `key`, on OpenDHT's thread: use it for nothing else.
  void hear(const proto::DeviceId& device, std::shared_ptr<dht::crypto::PrivateKey> key, OnMessage on_message);
  void forget(const proto::DeviceId& device);
  /// Signed with `key`, on a thread of the pool: one message at a time.
  void send(std::shared_ptr<dht::crypto::PrivateKey> key, const proto::ByteVector& peer_key, proto::Bytes body,
            daemon::SignalKeys keys);

 private:
  struct Ear {
    OnMessage on_message;
    std::shared_future<std::size_t> token;
  };
  void deliver(const proto::DeviceId& device, const daemon::SignalMessage& message);

  daemon::Loop& loop_;
  std::map<proto::DeviceId, Ear> ears_;
  dht::DhtRunner runner_;
};

}  // namespace connd::test
