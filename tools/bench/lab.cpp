// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/lab.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <netinet/in.h>
#include <sys/socket.h>

namespace connd::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kReadySeconds = 60;
/// Three RSA keys of 4096 bits, on a slow machine.
constexpr double kKeySeconds = 300;
constexpr const char* kNames[] = {"alice", "bob"};

int free_udp_port() {
  const ipc::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), raw, size) != 0 || ::getsockname(socket.get(), raw, &size) != 0)
    fail_with_errno("a UDP port");
  return ntohs(address.sin_port);
}

std::string last_lines(const std::string& path) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.size() > 2'000 ? text.substr(text.size() - 2'000) : text;
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = (fs::temp_directory_path() / "jami-connd-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) fail_with_errno(pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

ipc::Outcome<std::unique_ptr<ipc::Client>> connect_client(const std::string& socket_path) {
  ipc::Client::ConnectOptions options;
  options.socket_path = socket_path;
  options.name = "bench";
  return ipc::Client::connect(options);
}

void prepare_identities(const LabOptions& options) {
  for (const char* name : kNames) {
    const fs::path target = fs::path(options.identities) / name;
    if (fs::exists(target)) continue;
    std::fprintf(stderr, "bench: making the keys of %s, once: some seconds\n", name);
    fs::create_directories(options.identities);
    const TempDir work;
    const std::string socket = work.path() + "/s";
    const Child daemon = Child::exec(Side::kCaller,
                                     {options.daemon, "--state-dir", work.path() + "/state", "--socket", socket,
                                      "--bootstrap", "none", "--no-lan-discovery"},
                                     work.path() + "/log");
    const double deadline = now_seconds() + kKeySeconds;
    for (bool made = false; !made; sleep_seconds(0.05)) {
      if (!daemon.running() || now_seconds() > deadline)
        throw Failure("no identity: " + last_lines(work.path() + "/log"));
      const auto client = connect_client(socket);
      made = client && (*client)->server().device;
    }
    const fs::path fresh = target.string() + ".new";
    fs::remove_all(fresh);
    fs::create_directory(fresh);
    fs::copy(work.path() + "/state/identity", fresh / "identity", fs::copy_options::recursive);
    fs::rename(fresh, target);
  }
}

Daemon::Daemon(const LabOptions& options, Side side, const std::string& directory, const std::string& name,
               const std::vector<std::string>& arguments)
    : socket_path_(directory + "/" + name + ".sock"), log_(directory + "/" + name + ".log") {
  const std::string state = directory + "/" + name;
  fs::create_directory(state);
  fs::copy(fs::path(options.identities) / name / "identity", state + "/identity", fs::copy_options::recursive);
  std::vector<std::string> command{options.daemon, "--state-dir", state,
                                   "--socket",     socket_path_,  "--no-lan-discovery"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  child_ = Child::exec(side, command, log_);
}

void Daemon::wait_for(const char* what, const std::function<bool()>& condition) {
  for (const double deadline = now_seconds() + kReadySeconds; !condition(); sleep_seconds(0.01)) {
    if (!child_.running()) throw Failure("a daemon has ended: " + last_lines(log_));
    if (now_seconds() > deadline) throw Failure(std::string("a daemon is not ") + what + ": " + last_lines(log_));
  }
}

void Daemon::wait_ready() {
  wait_for("ready", [this] {
    auto client = connect_client(socket_path_);
    if (!client || !(*client)->server().ready) return false;
    device_ = (*client)->server().device.value_or("");
    client_ = *std::move(client);
    return call("daemon.status")["dht"]["state"] == "connected";
  });
}

void Daemon::wait_channels(std::uint64_t count) {
  wait_for("down to the channels that are left", [&] { return call("daemon.status")["counts"]["channels"] == count; });
}

ipc::Json Daemon::call(const std::string& method, ipc::Json params) {
  auto reply = client_->call(method, std::move(params));
  if (!reply) throw Failure(method + ": " + reply.error().message);
  return *std::move(reply);
}

void Daemon::stop() {
  client_.reset();
  child_.terminate();
}

Lab::Lab(const LabOptions& options) {
  const std::string port = std::to_string(free_udp_port());
  using Arguments = std::vector<std::string>;
  alice_ = std::make_unique<Daemon>(options, Side::kCaller, directory_.path(), "alice",
                                    Arguments{"--bootstrap", "none", "--dht-port", port});
  bob_ = std::make_unique<Daemon>(options, Side::kCallee, directory_.path(), "bob",
                                  Arguments{"--bootstrap", "127.0.0.1:" + port});
  alice_->wait_ready();
  bob_->wait_ready();
  bob_->call("trust.allow", {{"id", alice_->device()}});
}

Lab::~Lab() {
  alice_->stop();
  bob_->stop();
}

}  // namespace connd::bench
