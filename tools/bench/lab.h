// SPDX-License-Identifier: GPL-3.0-or-later
/// Lab: two daemons with a DHT of their own on this machine; the first one is the other's bootstrap. They have never
/// met: each Lab starts from copies of ready-made identities.
#pragma once

#include <memory>
#include <string>

#include "ipc/client.h"
#include "tools/bench/child.h"

namespace connd::bench {

/// A directory that goes with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Of the daemon behind this socket.
ipc::Outcome<std::unique_ptr<ipc::Client>> connect_client(const std::string& socket_path);

struct LabOptions {
  std::string daemon;      ///< path of jami-connd
  std::string identities;  ///< directory with alice/ and bob/, made where missing: that takes some seconds, once
};

/// Makes what `identities` lacks; tells on stderr when that takes a while.
void prepare_identities(const LabOptions& options);

class Daemon {
 public:
  /// A daemon on a copy of the identity `name`.
  Daemon(const LabOptions& options, Side side, const std::string& directory, const std::string& name,
         const std::vector<std::string>& arguments);

  /// Blocks until it has an identity and is on the DHT.
  void wait_ready();
  /// Blocks until it has that many channels.
  void wait_channels(std::uint64_t count);
  ipc::Json call(const std::string& method, ipc::Json params = ipc::Json::object());
  [[nodiscard]] const std::string& device() const { return device_; }
  [[nodiscard]] const std::string& socket_path() const { return socket_path_; }
  [[nodiscard]] const Child& child() const { return child_; }
  void stop();

 private:
  void wait_for(const char* what, const std::function<bool()>& condition);

  std::string socket_path_;
  std::string log_;
  Child child_;
  std::unique_ptr<ipc::Client> client_;
  std::string device_;
};

class Lab {
 public:
  /// Starts both; bob allows alice.
  explicit Lab(const LabOptions& options);
  ~Lab();

  Daemon& alice() { return *alice_; }
  Daemon& bob() { return *bob_; }

 private:
  TempDir directory_;
  std::unique_ptr<Daemon> alice_;
  std::unique_ptr<Daemon> bob_;
};

}  // namespace connd::bench
