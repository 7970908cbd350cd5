// SPDX-License-Identifier: GPL-3.0-or-later
/// Devices with a control socket each, in one process and on one loop: a real IpcServer, and if wanted a real
/// ConnectionManager behind it. Only the DHT is missing: requests are handed over in memory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/local_api/ipc_server.h"
#include "ipc/client.h"
#include "tests/daemon/manager_node.h"

namespace connd::test {

class ApiNode;

/// The loop, its devices, and their clients.
class ApiWorld {
 public:
  World world;
  std::map<proto::DeviceId, ApiNode*> nodes;
  std::vector<class ApiClient*> clients;

  /// Runs the loop, and lets the clients process, until `done`.
  bool run_until(const std::function<bool()>& done, std::chrono::seconds limit = std::chrono::seconds(60));
};

/// One device.
class ApiNode final : private daemon::Signalling, private daemon::DaemonView {
 public:
  struct Options {
    bool manager = true;
    daemon::IceRequestPolicy policy = daemon::IceRequestPolicy::kTrusted;
    daemon::IpcSettings ipc{};
  };
  ApiNode(ApiWorld& world, std::size_t identity, Options options);
  ApiNode(ApiWorld& world, std::size_t identity) : ApiNode(world, identity, Options{}) {}
  ~ApiNode();

  void start_manager();

  const proto::DeviceId id;
  const proto::CertificateChain chain;
  TempDir dir;
  daemon::Stores stores;
  daemon::StateDisk disk;
  daemon::EventHub events;
  std::unique_ptr<daemon::IpcServer> server;
  std::unique_ptr<daemon::ConnectionManager> manager;

  [[nodiscard]] std::string path() const { return dir.file("control.sock"); }
  void allow(const ApiNode& peer);

 private:
  void find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                  proto::TimePoint deadline, daemon::ChainUse use, daemon::ChainWanted wanted,
                  std::function<void(std::optional<proto::CertificateChain>)> done) override;
  void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                    std::function<void(const std::optional<daemon::FoundDevice>&)> found) override;
  void send(const daemon::SignalTarget& target, proto::Bytes body) override;
  void listen_pairs(const std::vector<proto::PairListen>&) override {}
  [[nodiscard]] std::optional<ipc::IdentityResult> identity() const override;
  [[nodiscard]] ipc::DaemonState state() const override;
  [[nodiscard]] ipc::DhtState network() const override { return ipc::DhtState::kConnected; }
  [[nodiscard]] ipc::Reachable reachable() const override { return ipc::Reachable::kYes; }
  void describe(ipc::DaemonStatus& status) const override { status.problems = {"a test"}; }

  ApiWorld& world_;
  const std::size_t number_;
  const Options options_;
};

/// A program that uses the daemon: the client library on the world's loop.
class ApiClient {
 public:
  ApiClient(ApiWorld& world, const ApiNode& node);
  ~ApiClient();
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  ipc::Client& operator*() { return *client_; }
  ipc::Client* operator->() { return client_.get(); }
  void process();
  /// Closes the connection, as the program's end does.
  void leave();

  /// Calls, and waits for the answer.
  ipc::Outcome<ipc::Json> call(const std::string& method, ipc::Json params = ipc::Json::object());
  /// The reason of the error that a call fails with; closed when it does not.
  ipc::Reason reason_of(const std::string& method, ipc::Json params = ipc::Json::object());
  /// Opens a channel and waits; strict, as the library does.
  ipc::Outcome<ipc::ChannelSocket> open(const ApiNode& peer, const std::string& uri,
                                        ipc::Client::OpenOptions options = {});
  /// Listens for `uri` (a final '*' is a prefix); channels go to `opened`.
  std::uint64_t listen(const std::string& uri, ipc::Json peers = "allowed");
  std::uint64_t listen_ask(const std::string& uri, ipc::Json peers = "allowed");
  /// Subscribes; what comes goes to `seen`.
  ipc::Snapshot subscribe();
  [[nodiscard]] std::vector<ipc::Json> seen_of(const std::string& type) const;

  std::vector<ipc::ChannelSocket> opened;
  std::vector<ipc::IncomingRequest> requests;
  std::vector<std::pair<std::string, ipc::Json>> seen;

 private:
  ApiWorld& world_;
  std::unique_ptr<ipc::Client> client_;
  std::unique_ptr<daemon::Poll> poll_;
};

/// A program that writes what it wants.
class RawClient {
 public:
  RawClient(ApiWorld& world, const std::string& path);
  void write(const std::string& bytes);
  /// The next line as JSON; null when the daemon closed instead.
  ipc::Json line();
  /// True when the daemon closes, whatever it says before.
  bool closed();
  void shut_down_writing();
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  bool read_some();
  ApiWorld& world_;
  ipc::Fd socket_;
  daemon::Poll poll_;
  std::string buffer_;
  bool end_ = false;
};

/// Connects to a control socket.
ipc::Fd connect_to(const std::string& path);

}  // namespace connd::test
