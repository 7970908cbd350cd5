// SPDX-License-Identifier: GPL-3.0-or-later
// Real libnice on loopback addresses, two agents in one process. GLib's warnings are fatal here.
#include "daemon/ice/ice_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

namespace {

constexpr proto::Bytes::size_type kHeader = 2;

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count;
}

void make_glib_warnings_fatal() {
  g_log_set_always_fatal(static_cast<GLogLevelFlags>(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING));
}

/// One side of an attempt, and what became of it.
struct Side {
  std::unique_ptr<IceAgent> agent;
  std::optional<proto::IceDescription> description;
  std::optional<IcePath> path;
  std::optional<std::string> failure;
  Clock::time_point path_at;
};

struct Options {
  bool native = true;
  bool both_controlling = false;
  std::vector<std::string> addresses = {"127.0.0.1"};
};

/// Two agents on one loop. Side 0 asked (controlled), side 1 answered (controlling).
struct Attempt {
  Attempt(Loop& loop, GlibBridge& bridge, Options options) : loop(loop), options(std::move(options)) {
    for (int i = 0; i < 2; ++i) make(bridge, i);
  }
  void make(GlibBridge& bridge, int i) {
    IceConfig config;
    config.controlling = i == 1 || options.both_controlling;
    config.local_addresses = options.addresses;
    IceCallbacks callbacks;
    callbacks.on_gathered = [this, i](proto::IceDescription d) { gathered(i, std::move(d)); };
    callbacks.on_path = [this, i](IcePath p) {
      sides[i].path = std::move(p);
      sides[i].path_at = Clock::now();
      if (on_path) on_path(i);
      if (sides[0].path && sides[1].path) loop.stop();
    };
    callbacks.on_failed = [this, i](std::string why) {
      sides[i].failure = std::move(why);
      loop.stop();
    };
    sides[i].agent = std::make_unique<IceAgent>(loop, bridge, config, std::move(callbacks));
  }
  void gathered(int i, proto::IceDescription d) {
    sides[i].description = std::move(d);
    if (on_gathered) on_gathered(i);
    if (!sides[0].description || !sides[1].description) return;
    start = Clock::now();
    sides[0].agent->set_remote(*sides[1].description, options.native);
    sides[1].agent->set_remote(*sides[0].description, options.native);
  }
  /// Until both have a path, one has failed, or time is up.
  void run(milliseconds limit = milliseconds(60000)) {
    Timer deadline(loop, [this] {
      late = true;
      loop.stop();
    });
    deadline.arm_in(limit);
    for (auto& side : sides) side.agent->gather();
    loop.run();
  }
  [[nodiscard]] bool connected() const { return sides[0].path.has_value() && sides[1].path.has_value(); }
  [[nodiscard]] std::string why() const {
    return (late ? "late; " : "") + sides[0].failure.value_or("-") + "; " + sides[1].failure.value_or("-");
  }

  Loop& loop;
  Options options;
  Side sides[2];
  bool late = false;
  Clock::time_point start;
  std::function<void(int)> on_gathered;
  std::function<void(int)> on_path;
};

void write_all(int fd, proto::Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    REQUIRE(n > 0);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

proto::ByteVector frame(const std::string& payload) {
  proto::ByteVector out(kHeader + payload.size());
  proto::store_u16(out.data(), static_cast<std::uint16_t>(payload.size()));
  std::copy(payload.begin(), payload.end(), out.begin() + kHeader);
  return out;
}

bool is_stun(const std::string& payload) {
  return payload.size() >= 20 && static_cast<unsigned char>(payload[0]) < 4 &&
         payload.substr(4, 4) == "\x21\x12\xa4\x42";
}

/// Reads whole frames from the taken-over socket until `wanted` payload bytes beside STUN are there, or 5 s without
/// any.
std::string read_payload(int fd, std::size_t wanted) {
  std::string raw;
  std::string out;
  while (out.size() < wanted) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, 5000) != 1) break;
    char block[65536];
    const ssize_t n = recv(fd, block, sizeof block, 0);
    if (n <= 0) break;
    raw.append(block, static_cast<std::size_t>(n));
    while (raw.size() >= kHeader) {
      const std::size_t size = proto::load_u16(reinterpret_cast<const std::uint8_t*>(raw.data()));
      if (raw.size() < kHeader + size) break;
      const std::string payload = raw.substr(kHeader, size);
      if (!is_stun(payload)) out += payload;
      raw.erase(0, kHeader + size);
    }
  }
  return out;
}

void check_path_pair(const Attempt& attempt) {
  const IcePath& a = *attempt.sides[0].path;
  const IcePath& b = *attempt.sides[1].path;
  // The one question that matters: are both ends of the same TCP connection?
  CHECK(a.local == b.remote);
  CHECK(a.remote == b.local);
  CHECK(a.controlling != b.controlling);
  CHECK(a.local_ufrag == b.remote_ufrag);
  CHECK(a.local_pwd == attempt.sides[0].description->pwd);
  for (const Side& side : attempt.sides) {
    const int fd = side.path->socket.get();
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    int no_delay = 0;
    socklen_t size = sizeof no_delay;
    REQUIRE(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
    CHECK(no_delay != 0);
  }
}

/// Connects to every passive candidate of a description.
std::vector<ipc::Fd> strangers(const proto::IceDescription& description, const std::string& bytes) {
  std::vector<ipc::Fd> out;
  for (const proto::Candidate& candidate : description.candidates) {
    if (candidate.tcp_type != proto::TcpType::kPassive) continue;
    ipc::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(candidate.port);
    REQUIRE(inet_pton(AF_INET, candidate.address.c_str(), &to.sin_addr) == 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) continue;  // nobody listens any more
    if (!bytes.empty()) (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    out.push_back(std::move(fd));
  }
  return out;
}

void many_set_ups(const Options& options, const char* name) {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  const std::size_t before = open_descriptors();
  std::vector<double> times;
  for (int round = 0; round < 50; ++round) {
    Attempt attempt(loop, bridge, options);
    attempt.run();
    INFO(attempt.why());
    REQUIRE(attempt.connected());
    check_path_pair(attempt);
    CHECK_FALSE(bridge.running());  // both agents are gone
    const IcePath& client = attempt.sides[0].path->controlling ? *attempt.sides[0].path : *attempt.sides[1].path;
    const IcePath& server = attempt.sides[0].path->controlling ? *attempt.sides[1].path : *attempt.sides[0].path;
    // What each side sends first is what the other reads first.
    write_all(client.socket.get(), frame("hello from the client"));
    CHECK(read_payload(server.socket.get(), 21) == "hello from the client");
    write_all(server.socket.get(), frame("and from the server"));
    CHECK(read_payload(client.socket.get(), 19) == "and from the server");
    const auto end = std::max(attempt.sides[0].path_at, attempt.sides[1].path_at);
    times.push_back(std::chrono::duration<double, std::milli>(end - attempt.start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%s: 50 set-ups, median %.1f ms, slowest %.1f ms\n", name, times[times.size() / 2], times.back());
  CHECK(open_descriptors() == before);
}

}  // namespace

TEST_CASE("native set-ups in a row on one address", "[ice]") {
  many_set_ups({}, "native, one address");
}
TEST_CASE("set-ups in a row as with a Jami peer", "[ice]") {
  many_set_ups({false, false, {"127.0.0.1"}}, "jami, one address");
}
TEST_CASE("native set-ups in a row on three addresses: both ends hold the same connection", "[ice]") {
  many_set_ups({true, false, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}}, "native, three addresses");
}
TEST_CASE("set-ups in a row on three addresses as with a Jami peer", "[ice]") {
  many_set_ups({false, false, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}}, "jami, three addresses");
}
TEST_CASE("a role conflict still gives a path; the roles told are the ones that were set", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  Attempt attempt(loop, bridge, {false, true, {"127.0.0.1"}});
  attempt.run();
  INFO(attempt.why());
  REQUIRE(attempt.connected());
  CHECK(attempt.sides[0].path->local == attempt.sides[1].path->remote);
  CHECK(attempt.sides[0].path->controlling);
  CHECK(attempt.sides[1].path->controlling);
}

namespace {

/// A port that takes no more connections: whoever asks for one is not answered, as behind a firewall that drops.
class FullListener {
 public:
  FullListener() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in own{};
    own.sin_family = AF_INET;
    REQUIRE(inet_pton(AF_INET, "127.0.0.1", &own.sin_addr) == 1);
    socklen_t size = sizeof own;
    REQUIRE(bind(listener_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) == 0);
    REQUIRE(listen(listener_.get(), 0) == 0);
    REQUIRE(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
    port_ = ntohs(own.sin_port);
    for (int i = 0; i < 4; ++i) {
      guests_.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)connect(guests_.back().get(), reinterpret_cast<sockaddr*>(&own), sizeof own);
    }
  }
  std::uint16_t port() const { return port_; }

 private:
  ipc::Fd listener_;
  std::vector<ipc::Fd> guests_;
  std::uint16_t port_ = 0;
};

}  // namespace

TEST_CASE("an address of the peer that is silent delays nobody by two seconds", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  const FullListener silent;
  Clock::duration best = std::chrono::hours(1);
  for (int round = 0; round < 3; ++round) {
    Attempt attempt(loop, bridge, {});
    // Behind a router: what it says of itself is silent, and the other side, which chooses, hears from it all the same.
    attempt.on_gathered = [&](int i) {
      if (i != 0) return;
      for (auto& candidate : attempt.sides[0].description->candidates) {
        if (candidate.tcp_type == proto::TcpType::kPassive) candidate.port = silent.port();
      }
    };
    attempt.run();
    INFO(attempt.why());
    REQUIRE(attempt.connected());
    const auto end = std::max(attempt.sides[0].path_at, attempt.sides[1].path_at);
    best = std::min(best, end - attempt.start);
  }
  std::printf("beside a silent address: %.0f ms\n", std::chrono::duration<double, std::milli>(best).count());
  CHECK(best < milliseconds(1500));
}

TEST_CASE("public addresses are told beside the local ones", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  std::vector<std::string> lines;
  int asked = 0;
  IceConfig config;
  config.local_addresses = {"127.0.0.1"};
  config.public_addresses = [&asked] {
    ++asked;
    return std::vector<std::string>{"11.0.113.10", "192.168.1.1"};
  };
  IceAgent agent(loop, bridge, config,
                 {[&](const proto::IceDescription& description) {
                    for (const auto& candidate : description.candidates) lines.push_back(to_line(candidate));
                    loop.stop();
                  },
                  [](IcePath) {}, [&](std::string) { loop.stop(); }});
  agent.gather();
  loop.run();
  CHECK(asked == 1);
  REQUIRE(lines.size() == 3);  // active, passive
  CHECK(lines[2] == "p1 1 TCP 1688207359 11.0.113.10 9 typ srflx tcptype active");
}

TEST_CASE("after the native hand-over no byte of a flood sent at once is lost", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  for (int round = 0; round < 20; ++round) {
    Attempt attempt(loop, bridge, {});
    std::string sent;
    attempt.on_path = [&](int i) {
      const IcePath& path = *attempt.sides[i].path;
      if (!path.controlling) return;
      for (int n = 0; n < 50; ++n) {
        const std::string payload = std::to_string(n) + std::string(1000, 'x');
        write_all(path.socket.get(), frame(payload));
        sent += payload;
      }
    };
    attempt.run();
    INFO(attempt.why());
    REQUIRE(attempt.connected());
    const IcePath& server = *attempt.sides[0].path;
    REQUIRE_FALSE(server.controlling);
    CHECK(server.early.empty());
    CHECK(attempt.sides[1].path->early.empty());
    REQUIRE(read_payload(server.socket.get(), sent.size()) == sent);
  }
}

TEST_CASE("what a Jami client says first reaches the server, early or on the socket", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  int early = 0;
  for (int round = 0; round < 50; ++round) {
    Attempt attempt(loop, bridge, {false, false, {"127.0.0.1"}});
    const std::string hello(600, 'h');
    attempt.on_path = [&](int i) {
      const IcePath& path = *attempt.sides[i].path;
      if (path.controlling) write_all(path.socket.get(), frame(hello));
    };
    attempt.run();
    INFO(attempt.why());
    REQUIRE(attempt.connected());
    const IcePath& server = *attempt.sides[0].path;
    std::string got(proto::as_text(server.early));
    if (!got.empty()) ++early;
    got += read_payload(server.socket.get(), hello.size() - got.size());
    REQUIRE(got == hello);
  }
  std::printf("jami: the first flight came before the take-over in %d of 50\n", early);
}

TEST_CASE("the other connections of an attempt stay open while they are held", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  Attempt attempt(loop, bridge, {false, false, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}});
  attempt.run();
  INFO(attempt.why());
  REQUIRE(attempt.connected());
  std::size_t held = 0;
  for (const Side& side : attempt.sides) {
    held += side.path->held.size();
    for (const ipc::Fd& fd : side.path->held) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      CHECK(getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0);
      CHECK((fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
  }
  CHECK(held > 0);
}

TEST_CASE("after the take-over the ports are closed and strangers have no effect", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  Attempt attempt(loop, bridge, {});
  attempt.run();
  INFO(attempt.why());
  REQUIRE(attempt.connected());
  for (const Side& side : attempt.sides) CHECK(strangers(*side.description, "junk!").empty());
  write_all(attempt.sides[1].path->socket.get(), frame("still clean"));
  CHECK(read_payload(attempt.sides[0].path->socket.get(), 11) == "still clean");
}

TEST_CASE("strangers who dribble from the moment the ports are known do no harm, and are not held", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  const std::size_t before = open_descriptors();
  for (int round = 0; round < 10; ++round) {
    Attempt attempt(loop, bridge, {});
    std::vector<ipc::Fd> dribblers;
    // Half a frame to every port, from two strangers: what would stay in libnice's reassembly buffer.
    attempt.on_gathered = [&](int i) {
      for (int n = 0; n < 2; ++n) {
        auto more = strangers(*attempt.sides[i].description, std::string("\x00\x50junk!", 7));
        std::move(more.begin(), more.end(), std::back_inserter(dribblers));
      }
    };
    attempt.run();
    REQUIRE(dribblers.size() == 4);
    INFO(attempt.why());
    REQUIRE(attempt.connected());
    check_path_pair(attempt);
    for (const Side& side : attempt.sides) CHECK(side.path->held.size() <= 1);
    write_all(attempt.sides[1].path->socket.get(), frame("clean"));
    CHECK(read_payload(attempt.sides[0].path->socket.get(), 5) == "clean");
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("cancelling at any time is silent and leaves no descriptor", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  const std::size_t before = open_descriptors();
  // Cancel both sides after so many milliseconds: from before gathering ends to after CONNECTED.
  for (int delay = 0; delay < 60; delay += 2) {
    bool cancelled = false;
    Attempt attempt(loop, bridge, {true, false, {"127.0.0.1", "127.0.0.2"}});
    Timer cancel(loop, [&] {
      cancelled = true;
      for (auto& side : attempt.sides) side.agent.reset();
      loop.post([&] { loop.stop(); });
    });
    attempt.on_gathered = [&](int) { CHECK_FALSE(cancelled); };
    attempt.on_path = [&](int) { CHECK_FALSE(cancelled); };
    cancel.arm_in(milliseconds(delay));
    attempt.run();
    CHECK_FALSE(attempt.late);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("an agent may be destroyed from inside each of its callbacks", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  const std::size_t before = open_descriptors();
  std::unique_ptr<IceAgent> agent;
  for (const bool fails : {false, true}) {
    int calls = 0;
    IceConfig config;
    config.local_addresses = {fails ? "no address" : "127.0.0.1"};
    const auto end = [&] {
      ++calls;
      agent.reset();
      loop.post([&] { loop.stop(); });
    };
    agent = std::make_unique<IceAgent>(
        loop, bridge, config, IceCallbacks{[&](proto::IceDescription) { end(); }, {}, [&](std::string) { end(); }});
    agent->gather();
    loop.run();
    CHECK(calls == 1);
    CHECK_FALSE(bridge.running());
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("what cannot work is told in words", "[ice]") {
  Loop loop;
  GlibBridge bridge(loop);
  std::string why;
  IceConfig config;
  const auto failure_of = [&](const std::function<void(IceAgent&)>& act) {
    why.clear();
    IceAgent agent(loop, bridge, config,
                   {[](proto::IceDescription) {}, [](IcePath) {},
                    [&](std::string text) {
                      why = std::move(text);
                      loop.stop();
                    }});
    Timer deadline(loop, [&] { loop.stop(); });
    deadline.arm_in(milliseconds(60000));
    act(agent);
    loop.run();
    return why;
  };
  config.local_addresses = {"not an address"};
  CHECK(failure_of([](IceAgent& a) { a.gather(); }) == "no network address to offer");
  config.local_addresses.clear();
  config.interfaces = {"no-such"};
  CHECK(failure_of([](IceAgent& a) { a.gather(); }) ==
        "the interfaces that the daemon was told to use have no address");
  config.local_addresses = {"192.0.2.77"};  // not of this machine
  CHECK(failure_of([](IceAgent& a) { a.gather(); }) == "no listening socket could be opened on any local address");
  config.local_addresses = {"127.0.0.1"};

  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  rlimit low = old;
  low.rlim_cur = open_descriptors() + 10;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  const std::string text = failure_of([](IceAgent& a) { a.gather(); });
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(text == "no free file descriptors for ICE");
}

TEST_CASE("the peer's description may be known before ours is gathered", "[ice]") {
  make_glib_warnings_fatal();
  Loop loop;
  GlibBridge bridge(loop);
  Attempt attempt(loop, bridge, {});
  // As the device that answers: gather() and set_remote() in one go.
  attempt.sides[0].agent->gather();
  Timer deadline(loop, [&] { loop.stop(); });
  deadline.arm_in(milliseconds(60000));
  attempt.on_gathered = [&](int i) {
    if (i == 0) {
      attempt.sides[1].agent->gather();
      attempt.sides[1].agent->set_remote(*attempt.sides[0].description, true);
      return;
    }
    attempt.sides[0].agent->set_remote(*attempt.sides[1].description, true);
    attempt.sides[0].description.reset();  // so that gathered() does not set them again
  };
  loop.run();
  CHECK(attempt.connected());
}
