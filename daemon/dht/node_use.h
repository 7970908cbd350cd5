// SPDX-License-Identifier: GPL-3.0-or-later
/// NodeUse: what the parts of a DhtClient ask of the node of OpenDHT that there is. NodeLife gives it, where the node
/// may be another one each time; in tests, what holds the answers back.
///
/// Used on the loop's thread. While nobody can be asked, `get` and `send` must not be called: who has something to ask
/// keeps it until he is told that there is a node (take_up, give of the parts).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "daemon/dht/dht_node.h"

namespace connd::daemon {

class NodeUse {
 public:
  /// Called on OpenDHT's thread, some times; false ends the search.
  using Values = std::function<bool(const DhtValues&)>;

  /// There is a node, and it has somebody to begin with.
  [[nodiscard]] virtual bool can_ask() const = 0;

  /// Looks for the values of one type under a key. `over` is called on the loop's thread, in a later turn, unless there
  /// is another node by then.
  virtual void get(const dht::InfoHash& key, dht::ValueType::Id type, dht::Value::Filter filter, Values values,
                   std::function<void()> over) = 0;
  /// Puts a value for a while; `over` as above, with whether a node has taken it.
  virtual void send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, std::function<void(bool)> over) = 0;

  // Of what is kept; see DhtNode.
  virtual void keep(const DhtKept& kept) = 0;
  virtual void stop_listening(const dht::InfoHash& key) = 0;
  virtual void stop_putting(const dht::InfoHash& key, dht::Value::Id id) = 0;
  virtual void wake(const DhtKept& kept) = 0;
  virtual void ask(const DhtKept& kept) = 0;
  virtual void check(const DhtKept& kept) = 0;

 protected:
  ~NodeUse() = default;
};

}  // namespace connd::daemon
