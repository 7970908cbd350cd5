// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionManagers in one process, on one loop: real ICE over loopback, real TLS, real sockets. Only the signalling
/// is handed over in memory.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "tests/daemon/temp_dir.h"

namespace connd::test {

/// The `i`-th identity of the program, made once.
const proto::Identity& node_identity(std::size_t i);
/// Empty ones, in a directory.
daemon::Stores open_stores(const std::string& dir);

/// An open's time that is to pass, but not before it has been asked for over there: that costs ICE's gathering, and
/// more on a machine that is slow.
constexpr std::chrono::milliseconds kTimeToAsk{2'000};

/// The loop, and what all nodes on it share.
class World {
 public:
  World() : context{loop, poller, turns, scratch, handles} {}
  /// Runs the loop until `done`; false when that takes longer than `limit`: as it stands, one against a hang.
  bool run_until(const std::function<bool()>& done, std::chrono::seconds limit = std::chrono::seconds(60));

  daemon::Loop loop;
  // libuv runs the handle that was started last first: made before all others, this one looks at what the turn did.
  daemon::BeforeWait check{loop, [this] {
                             if (done_ && done_()) loop.stop();
                           }};
  daemon::EdgePoller poller{loop};
  daemon::TurnQueue turns{loop};
  daemon::GlibBridge bridge{loop};
  daemon::PumpScratch scratch;
  daemon::HandleSources handles;
  daemon::ConnectionContext context;

 private:
  std::function<bool()> done_;
};

class Node;

/// Carries messages between the nodes of a world, in later turns; a test may look at them, drop or repeat them.
class Exchange {
 public:
  explicit Exchange(World& world) : world_(world) {}
  void add(Node& node);
  void remove(Node& node);
  void send(const proto::DeviceId& from, const proto::ByteVector& from_key, const daemon::SignalTarget& to,
            proto::ByteVector body);
  /// False: nothing gets through to that device by its public keys.
  std::function<bool(const proto::DeviceId& to)> public_keys_work;
  int by_pair = 0;  ///< messages that came by a pair key
  /// False drops a message.
  std::function<bool(const proto::DeviceId& from, const proto::DeviceId& to, const proto::ByteVector& body)> filter;
  std::map<proto::DeviceId, Node*> nodes;
  /// Devices that are no nodes, by public key; `planted` has their chains.
  std::map<proto::ByteVector, std::function<void(const daemon::SignalMessage&)>> outsiders;
  std::vector<proto::CertificateChain> planted;  ///< found before the right ones
  int lookups = 0;
  int messages = 0;

  World& world() { return world_; }

 private:
  World& world_;
};

/// One device: identity, stores, manager, and a local side that writes down what it is told.
class Node final : private daemon::Signalling, private daemon::ChannelApps, private daemon::ConnectionAsker {
 public:
  struct Options {
    daemon::IceRequestPolicy policy = daemon::IceRequestPolicy::kTrusted;
    daemon::ManagerLimits limits{};
    proto::ConnectTimes times{};
    proto::Duration keepalive = proto::kKeepaliveInterval;
    bool native = true;
    daemon::KnownChains::Clock clock{};
    bool shows_chain = false;
    const proto::Identity* shows = nullptr;  ///< in place of the `identity`-th; outlives the node
    const TempDir* state = nullptr;          ///< in place of a directory of its own; outlives the node
  };
  Node(Exchange& exchange, std::size_t identity, const Options& options);
  Node(Exchange& exchange, std::size_t identity) : Node(exchange, identity, Options{}) {}
  ~Node();

  /// Opens and waits.
  daemon::OpenResult open(const Node& peer, const std::string& uri, bool unique = false, bool strict = false,
                          proto::Duration timeout = std::chrono::seconds(60));
  /// Opens; `results` gets it.
  void open_later(const Node& peer, const std::string& uri, std::vector<daemon::OpenResult>& results,
                  proto::Duration timeout = std::chrono::seconds(60), bool unique = false);
  daemon::OpenResult open_account(const proto::AccountId& account, const std::string& uri,
                                  const proto::DeviceId& device = {},
                                  proto::Duration timeout = std::chrono::seconds(60));
  void allow(const Node& peer);
  void allow_account(const Node& peer);
  void allow(const proto::DeviceId& peer);
  void ban(const Node& peer);
  void unset(const Node& peer);
  /// Waits until the requests that it has seen are on disk: a descriptor is open for them meanwhile, off the loop.
  void settle();

  [[nodiscard]] std::size_t events(const std::string& type) const;
  [[nodiscard]] daemon::Stores& stores() { return stores_; }

  const proto::DeviceId id;
  const proto::ByteVector public_key;
  const proto::CertificateChain chain;
  std::unique_ptr<daemon::ConnectionManager> manager;

  struct Accepted {
    proto::ChannelHandle channel;
    std::string uri;
    ipc::Fd fd;
  };
  bool accept = true;     ///< else requests wait in `requests`
  bool strict = false;    ///< of accepted channels
  bool behind = false;    ///< the local side may have said finish
  bool announced = true;  ///< can be found by its account, and by its short id
  std::vector<proto::PairListen> pair_listens;
  std::vector<daemon::IncomingChannel> requests;
  std::deque<Accepted> accepted;
  std::vector<std::pair<proto::ChannelHandle, proto::Reason>> cancelled;
  std::vector<daemon::ChannelEnd> ended;
  std::vector<daemon::ConnectionAsker::Question> questions;
  bool answers_questions = true;
  std::vector<std::pair<std::string, nlohmann::json>> all_events;

 private:
  daemon::OpenResult open(const daemon::OpenRequest& request);
  void find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                  proto::TimePoint deadline, daemon::ChainUse use, daemon::ChainWanted wanted,
                  std::function<void(std::optional<proto::CertificateChain>)> done) override;
  void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                    std::function<void(const std::optional<daemon::FoundDevice>&)> found) override;
  void send(const daemon::SignalTarget& target, proto::Bytes body) override;
  void listen_pairs(const std::vector<proto::PairListen>& keys) override { pair_listens = keys; }
  void on_channel_requested(const daemon::IncomingChannel& request) override;
  void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) override;
  void on_channel_closed(const daemon::ChannelEnd& end) override;
  bool finish_may_come(proto::ChannelHandle) const override { return behind; }
  bool ask_connection(const Question& question) override;
  void connection_question_over(std::uint64_t number) override;

  Exchange& exchange_;
  TempDir dir_;
  daemon::Stores stores_;
  daemon::EventHub events_;
};

/// Alice and Bob, who allows her.
struct Two {
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node bob{exchange, 1};
  Two() { bob.allow(alice); }
};

/// The channel, or the test fails.
daemon::OpenedChannel& opened(daemon::OpenResult& result);
/// Why there is none, or the test fails.
proto::Reason failed(const daemon::OpenResult& result);

/// Writes all, then reads `n` bytes, running the loop meanwhile. For small amounts.
std::string read_exactly(World& world, int fd, std::size_t n);
/// Until EOF (or an error).
std::string read_to_end(World& world, int fd);
void write_all(World& world, int fd, const std::string& bytes);

}  // namespace connd::test
