// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/control_socket.h"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "ipc/client.h"
#include "ipc/fd_channel.h"

using namespace connd;
using namespace connd::ipc;

namespace {

/// Sets a variable of the environment, or unsets it, until the end of the scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Environment() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

/// Root may use any socket: until the end of the scope, the effective user is another.
class NotRoot {
 public:
  NotRoot() {
    if (was_root_) REQUIRE(::seteuid(65'534) == 0);
  }
  ~NotRoot() { [[maybe_unused]] const int back = was_root_ ? ::seteuid(0) : 0; }
  NotRoot(const NotRoot&) = delete;
  NotRoot& operator=(const NotRoot&) = delete;

 private:
  bool was_root_ = ::geteuid() == 0;
};

/// A directory of its own, with a listening socket in it.
class Listening {
 public:
  Listening() {
    std::string name = (std::filesystem::temp_directory_path() / "connd-ipc-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    dir_ = name;
    path_ = dir_ / "control.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path_.string().size() < sizeof address.sun_path);
    std::strcpy(address.sun_path, path_.c_str());
    socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket_.get(), 5) == 0);
  }
  ~Listening() { std::filesystem::remove_all(dir_); }
  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string dir() const { return dir_.string(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  std::filesystem::path dir_;
  std::filesystem::path path_;
  Fd socket_;
};

/// Accepts one client and answers its first request with `result`.
void answer_one(int listening, const Json& result) {
  FdChannel channel(Fd(::accept(listening, nullptr, nullptr)), {});
  for (;;) {
    pollfd p{channel.fd(), POLLIN, 0};
    ::poll(&p, 1, -1);
    if (!channel.on_readable()) return;
    auto outcome = channel.next();
    if (std::holds_alternative<FdChannel::Ended>(outcome)) return;
    auto* in = std::get_if<FdChannel::Incoming>(&outcome);
    if (in == nullptr) continue;
    static_cast<void>(channel.send(reply_line(std::get<Request>(in->message).id, result)));
    channel.on_writable();
  }
}

}  // namespace

TEST_CASE("where the control socket is looked for") {
  const Environment socket("JAMI_CONND_SOCKET", nullptr);
  const Environment runtime("XDG_RUNTIME_DIR", "/run/user/7");
  CHECK(control_socket_paths({}, "/nonexistent") ==
        std::vector<std::string>{"/run/user/7/jami-connd/control.sock", "/run/jami-connd/control.sock"});
  CHECK(control_socket_paths("/x") == std::vector<std::string>{"/x"});
  const Environment named("JAMI_CONND_SOCKET", "/y");
  CHECK(control_socket_paths() == std::vector<std::string>{"/y"});
  CHECK(control_socket_paths("/x") == std::vector<std::string>{"/x"});
  const Environment empty("JAMI_CONND_SOCKET", "");
  const Environment nowhere("XDG_RUNTIME_DIR", nullptr);
  CHECK(control_socket_paths({}, "/nonexistent") == std::vector<std::string>{"/run/jami-connd/control.sock"});
}

TEST_CASE("fault E8: a user's service is found without XDG_RUNTIME_DIR, and in spite of another user's") {
  const Listening there;  // its directory is ours, and stands for /run/user
  const Environment socket("JAMI_CONND_SOCKET", nullptr);
  const std::string ours = there.dir() + "/" + std::to_string(::geteuid());
  const std::string system = "/run/jami-connd/control.sock";
  std::filesystem::create_directory(ours);
  using Paths = std::vector<std::string>;
  {
    const Environment unset("XDG_RUNTIME_DIR", nullptr);
    CHECK(control_socket_paths({}, there.dir()) == Paths{ours + "/jami-connd/control.sock", system});
    std::filesystem::remove(ours);
    CHECK(control_socket_paths({}, there.dir()) == Paths{system});
    std::filesystem::create_directory(ours);
  }
  {
    const Environment same("XDG_RUNTIME_DIR", ours.c_str());
    CHECK(control_socket_paths({}, there.dir()) == Paths{ours + "/jami-connd/control.sock", system});
  }
  if (::geteuid() != 0) return;  // the rest needs another user's directory
  const std::string others = there.dir() + "/others";
  std::filesystem::create_directory(others);
  REQUIRE(::chown(others.c_str(), 65'534, 65'534) == 0);
  const Environment left("XDG_RUNTIME_DIR", others.c_str());  // as su leaves it
  CHECK(control_socket_paths({}, there.dir()) ==
        Paths{ours + "/jami-connd/control.sock", system, others + "/jami-connd/control.sock"});
  REQUIRE(::chown(ours.c_str(), 65'534, 65'534) == 0);
  CHECK(control_socket_paths({}, there.dir()) == Paths{system, others + "/jami-connd/control.sock"});
}

TEST_CASE("no daemon: the error says what to do") {
  const auto none = connect_control_socket({"/nonexistent/a", "/nonexistent/b"});
  REQUIRE_FALSE(none);
  CHECK(none.error().reason == Reason::kDaemonAbsent);
  CHECK(none.error().exit_code() == 3);
  CHECK(none.error().message.find("start it with") != std::string::npos);
  CHECK(none.error().detail.find("/nonexistent/b") != std::string::npos);
  CHECK_FALSE(connect_control_socket({std::string(200, 'x')}));
  // A socket file that nobody listens on.
  std::string path;
  std::optional<Listening> stale(std::in_place);
  CHECK(connect_control_socket({stale->path()}));
  Client::ConnectOptions options;
  options.socket_path = stale->dir();
  CHECK(Client::connect(options).error().reason == Reason::kDaemonAbsent);
}

TEST_CASE("the first socket that answers is taken") {
  const Listening there;
  CHECK(connect_control_socket({"/nonexistent/a", there.path()}));
}

TEST_CASE("a socket that may not be used") {
  const Listening there;
  REQUIRE(::chmod(there.path().c_str(), 0) == 0);
  const NotRoot user;
  const auto refused = connect_control_socket({there.path()});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::kNotPermitted);
  CHECK(refused.error().message.find("no permission to use " + there.path()) == 0);
  CHECK(refused.error().message.find("ls -l") != std::string::npos);
}

TEST_CASE("a user's socket that may not be used does not hide the system's") {
  const Listening users;
  const Listening systems;
  REQUIRE(::chmod(users.path().c_str(), 0) == 0);
  REQUIRE(::chmod(systems.dir().c_str(), 0755) == 0);
  REQUIRE(::chmod(systems.path().c_str(), 0666) == 0);
  const NotRoot user;
  CHECK(connect_control_socket({users.path(), systems.path()}));
  // None: what may not be used is more than what is not there, on either side of it.
  for (const auto& paths :
       {std::vector<std::string>{users.path(), "/nonexistent/a"}, {"/nonexistent/a", users.path()}}) {
    const auto refused = connect_control_socket(paths);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == Reason::kNotPermitted);
    CHECK(refused.error().message.find(users.path()) != std::string::npos);
    CHECK(refused.error().message.find("/nonexistent/a") == std::string::npos);
    CHECK(refused.error().detail.find("/nonexistent/a") != std::string::npos);
  }
}

TEST_CASE("what to do about a socket that may not be used fits its path") {
  const Listening there;
  std::filesystem::create_directory(there.dir() + "/jami-connd");
  std::filesystem::rename(there.path(), there.dir() + "/jami-connd/control.sock");
  REQUIRE(::chmod(there.dir().c_str(), 0) == 0);
  const Environment socket("JAMI_CONND_SOCKET", nullptr);
  const Environment runtime("XDG_RUNTIME_DIR", there.dir().c_str());
  std::string message;
  {
    const NotRoot user;
    const auto refused = connect_control_socket({there.dir() + "/jami-connd/control.sock"});
    REQUIRE_FALSE(refused);
    message = refused.error().message;
  }
  REQUIRE(::chmod(there.dir().c_str(), 0700) == 0);
  CHECK(message.find("XDG_RUNTIME_DIR") != std::string::npos);
  CHECK(message.find("group") == std::string::npos);
}

TEST_CASE("connect says hello, and takes only an API that it speaks") {
  const Listening there;
  Client::ConnectOptions options;
  options.socket_path = there.path();
  const auto connect = [&](const Json& hello) {
    std::thread daemon(answer_one, there.fd(), hello);
    auto client = Client::connect(options);
    std::optional<Error> error;
    if (client) {
      CHECK((*client)->server().version == "9.9");
      client->reset();
    } else {
      error = client.error();
    }
    daemon.join();
    return error;
  };
  CHECK_FALSE(connect({{"server", "jami-connd"}, {"version", "9.9"}, {"api", 1}, {"ready", true}}));
  const auto newer = connect({{"server", "jami-connd"}, {"version", "9.9"}, {"api", 2}, {"ready", true}});
  REQUIRE(newer);
  CHECK(newer->reason == Reason::kProtocolError);
  CHECK(newer->message.find("update") != std::string::npos);
  CHECK(connect({{"something", "else"}})->reason == Reason::kProtocolError);
}
