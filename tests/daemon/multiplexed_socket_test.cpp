// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/multiplexed_socket.h on a link in memory: what it must do whatever the link does.
#include "daemon/connection/multiplexed_socket.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "proto/error.h"
#include "tests/daemon/manager_node.h"
#include "tests/daemon/memory_link.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

proto::DeviceId device(std::uint8_t byte) {
  proto::DeviceId id;
  id.bytes.fill(byte);
  return id;
}

/// One end of a connection, and what it was told.
struct Side final : private MultiplexedSocket::Owner {
  Side(World& the_world, const std::shared_ptr<MemoryWire>& wire, bool client) : world(the_world) {
    auto made = std::make_unique<MemoryLink>(world.loop, wire, client, device(client ? 2 : 1));
    link = made.get();
    MultiplexedSocket::Owner& owner = *this;
    socket.emplace(world.context, owner, client ? 1 : 2, std::move(made), proto::MuxConfig{});
    socket->start();
  }

  World& world;
  MemoryLink* link = nullptr;
  std::optional<MultiplexedSocket> socket;
  int ups = 0, downs = 0, answers = 0, requests = 0, leavings = 0;
  Reason down_reason = Reason::kClosed, answer = Reason::kClosed;
  std::error_code down_error;
  std::vector<ChannelEnd> ends;
  ipc::Fd fd;  ///< of the app
  bool attached = false;
  std::string received;
  bool app_saw_end = false;

  [[nodiscard]] bool usable() const { return socket && socket->usable(); }
  /// What the app's fd has to read.
  void read_app() {
    char chunk[4096];
    while (fd) {
      const ssize_t n = ::recv(fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n > 0) received.append(chunk, static_cast<std::size_t>(n));
      if (n <= 0) {
        app_saw_end |= n == 0;
        return;
      }
    }
  }

 private:
  void on_up(MultiplexedSocket&) override { ++ups; }
  void on_channel_requested(MultiplexedSocket&, proto::ChannelHandle channel, const std::string&, bool) override {
    ++requests;
    take(socket->channels().accept(channel, {}));
  }
  void on_open_answered(MultiplexedSocket&, proto::ChannelHandle channel, Reason reason, const std::string&) override {
    ++answers;
    answer = reason;
    if (reason == Reason::kClosed) take(socket->channels().attach(channel, {}));
  }
  void take(proto::Result<ipc::Fd> made) {
    REQUIRE(made);
    attached = true;
    fd = std::move(*made);
  }
  void on_request_cancelled(MultiplexedSocket&, proto::ChannelHandle, Reason) override {}
  void on_channel_closed(MultiplexedSocket&, const ChannelEnd& end) override { ends.push_back(end); }
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle) const override { return false; }
  void on_channel_left(MultiplexedSocket&, std::unique_ptr<ChannelSocket>&) override {}
  void on_going_away(MultiplexedSocket&) override { ++leavings; }
  void on_down(MultiplexedSocket&, Reason reason, const std::string&, std::error_code error) override {
    ++downs;
    down_reason = reason;
    down_error = error;
    world.loop.post([this] { socket.reset(); });
  }
};

const std::string kQuestion = "a question of some length, " + std::string(300, 'q');
const std::string kAnswer = "the answer to it, " + std::string(500, 'a');

/// A channel from Alice to Bob; her app asks and ends, his answers and ends; then she closes the connection.
struct Talk {
  World world;
  std::shared_ptr<MemoryWire> wire;
  Side alice, bob;
  bool asked = false, answered = false, opened = false, closed = false;

  explicit Talk(const MemoryWire::Options& options)
      : wire(std::make_shared<MemoryWire>(world.loop, options)), alice(world, wire, true), bob(world, wire, false) {}

  void step() {
    if (alice.usable() && !std::exchange(opened, true)) {
      REQUIRE(alice.socket->open("talk", false));
      wake();
    }
    say(alice, kQuestion, asked, true);
    alice.read_app();
    bob.read_app();
    say(bob, kAnswer, answered, bob.app_saw_end && bob.received == kQuestion);
    if (alice.ends.size() == 1 && bob.ends.size() == 1 && !std::exchange(closed, true)) {
      alice.socket->close_drained(Reason::kShuttingDown, "done");
      wake();
    }
  }
  /// step() comes when the turn's work is done, and nothing else may follow.
  void wake() {
    world.loop.post([] {});
  }
  static void say(Side& side, const std::string& text, bool& said, bool now) {
    if (!side.fd || said || !now) return;
    said = true;
    // It may be gone already.
    if (::send(side.fd.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
    (void)::shutdown(side.fd.get(), SHUT_WR);
  }
  bool run() {
    return world.run_until([this] {
      step();
      return alice.downs > 0 && bob.downs > 0;
    });
  }
};

void check_whole(const Talk& talk) {
  for (const Side* side : {&talk.alice, &talk.bob}) {
    CHECK(side->ups == 1);
    CHECK(side->downs == 1);
    REQUIRE(side->ends.size() == 1);
    CHECK((side->ends[0].reason == Reason::kClosed));
    CHECK((side->down_reason == Reason::kShuttingDown));
    CHECK(side->app_saw_end);
  }
  CHECK((talk.wire->asked(0).agreed && talk.wire->asked(1).agreed));
  CHECK(talk.alice.received == kAnswer);
  CHECK(talk.bob.received == kQuestion);
}

}  // namespace

TEST_CASE("MultiplexedSocket: a talk is whole however its link carries it") {
  MemoryWire::Options options;
  SECTION("at once") {}
  SECTION("byte by byte") {
    options.piece = 1;
  }
  SECTION("in pieces that fit no frame") {
    options.piece = 7;
  }
  SECTION("with a delay") {
    options.piece = 200;
    options.delay = 3ms;
  }
  SECTION("with room for little") {
    options.room = 5;
  }
  SECTION("sending only when its deadline has come") {
    options.paced = true;
    options.piece = 64;
  }
  SECTION("all of it") {
    options.paced = true;
    options.piece = 50;
    options.room = 60;
    options.delay = 1ms;
  }
  Talk talk(options);
  REQUIRE(talk.run());
  check_whole(talk);
}

TEST_CASE("MultiplexedSocket: a talk that is cut at any byte is told once, and nothing that came before is lost") {
  const std::size_t at_end = GENERATE(0, 1);
  std::size_t all = 0;
  {
    Talk whole({});
    REQUIRE(whole.run());
    all = whole.wire->arrived(at_end);
  }
  REQUIRE(all > (at_end == 0 ? kAnswer : kQuestion).size());
  for (std::size_t cut = 0; cut < all; ++cut) {
    MemoryWire::Options options;
    options.piece = cut % 3 == 0 ? MemoryWire::kNever : 1 + cut % 11;
    options.cut[at_end] = cut;
    Talk talk(options);
    INFO("cut when end " << at_end << " has " << cut << " bytes of " << all);
    REQUIRE(talk.run());
    for (const Side* side : {&talk.alice, &talk.bob}) {
      CHECK(side->downs == 1);
      CHECK(side->ups <= 1);
      CHECK(side->answers <= 1);
      // Whatever was attached ends, once; nothing else does.
      REQUIRE(side->ends.size() == (side->attached ? 1U : 0U));
      const std::string& whole = side == &talk.alice ? kAnswer : kQuestion;
      CHECK(whole.starts_with(side->received));
      // `closed` is a promise.
      if (side->attached && side->ends[0].reason == Reason::kClosed) CHECK(side->received == whole);
      if (side->attached && side->ends[0].reason != Reason::kClosed) {
        CHECK((side->ends[0].reason == Reason::kConnectionLost));
      }
    }
  }
}

TEST_CASE("MultiplexedSocket: apps are read no faster than the link sends") {
  MemoryWire::Options options;
  options.room = 0;
  World world;
  auto wire = std::make_shared<MemoryWire>(world.loop, options);
  Side alice(world, wire, true);
  // Nothing leaves her: not even the handshake, so nothing more is made.
  int turns = 0;
  REQUIRE(world.run_until([&] {
    world.loop.post([] {});
    return ++turns == 50;
  }));
  CHECK(alice.link->unsent() == 1);
  CHECK(alice.ups == 0);
}

TEST_CASE("MultiplexedSocket: what waits in the link is bounded, and goes on when there is room") {
  MemoryWire::Options options;
  options.room = 1000;
  options.delay = 1ms;
  World world;
  auto wire = std::make_shared<MemoryWire>(world.loop, options);
  Side alice(world, wire, true), bob(world, wire, false);
  REQUIRE(world.run_until([&] { return alice.usable(); }));
  REQUIRE(alice.socket->open("much", false));
  world.loop.post([] {});
  REQUIRE(world.run_until([&] { return alice.fd && bob.fd; }));
  const std::string much(150'000, 'm');
  std::size_t written = 0;
  REQUIRE(world.run_until([&] {
    const ssize_t n = ::send(alice.fd.get(), much.data() + written, much.size() - written, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) written += static_cast<std::size_t>(n);
    bob.read_app();
    return bob.received.size() == much.size();
  }));
  // A batch is begun while less than one waits.
  CHECK(wire->most_unsent() >= 1000);
  CHECK(wire->most_unsent() <= 2 * proto::Mux::kOutputTarget + 1000);
}

TEST_CASE("MultiplexedSocket: what is under way when it closes arrives, and its output ends behind it") {
  MemoryWire::Options options;
  options.piece = 100;
  options.delay = 2ms;
  options.paced = GENERATE(false, true);
  World world;
  auto wire = std::make_shared<MemoryWire>(world.loop, options);
  Side alice(world, wire, true), bob(world, wire, false);
  REQUIRE(world.run_until([&] { return alice.usable(); }));
  REQUIRE(alice.socket->open("last words", false));
  world.loop.post([] {});
  REQUIRE(world.run_until([&] { return alice.fd && bob.fd; }));
  const std::string words(3'000, 'w');
  REQUIRE(::send(alice.fd.get(), words.data(), words.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(words.size()));
  REQUIRE(world.run_until([&] { return alice.link->unsent() + alice.link->counts().bytes_out > words.size(); }));
  alice.socket->close_drained(Reason::kShuttingDown, "good-bye");
  world.loop.post([] {});
  REQUIRE(world.run_until(
      [&] {
        bob.read_app();
        return alice.downs == 1 && bob.downs == 1;
      },
      2s));  // within kDrainTime, of which nothing is needed
  bob.read_app();
  CHECK(bob.received == words);
  CHECK(wire->asked(0).output_ended);
  CHECK((bob.down_reason == Reason::kShuttingDown));
}

TEST_CASE("MultiplexedSocket: a link to one of Jami's devices watches the peer itself, and takes little unread") {
  MemoryWire::Options options;
  options.native = false;
  World world;
  auto wire = std::make_shared<MemoryWire>(world.loop, options);
  Side alice(world, wire, true), bob(world, wire, false);
  REQUIRE(world.run_until([&] { return alice.ups == 1 && bob.ups == 1; }));
  CHECK(wire->asked(0).silence > 0s);
  CHECK(wire->asked(0).limited);
}

TEST_CASE("MultiplexedSocket: a peer that closes its side without a goodbye of its mux is heard to") {
  World world;
  auto wire = std::make_shared<MemoryWire>(world.loop, MemoryWire::Options{});
  Side alice(world, wire, true), bob(world, wire, false);
  REQUIRE(world.run_until([&] { return alice.ups == 1 && bob.ups == 1; }));
  bob.socket.reset();  // as one that dies
  REQUIRE(world.run_until([&] { return alice.downs == 1; }));
  CHECK((alice.down_reason == Reason::kConnectionLost));
  CHECK(alice.down_error == proto::Errc::kTlsTruncated);
}
