// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/puncher.h"

#include <array>

#include "tests/daemon/path_sockets.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

const std::string kPwd = "of-the-attempt-22-characters-";

/// One daemon, at 127.0.0.1 and its own port.
struct House {
  House(Loop& loop, EdgePoller& poller) {
    auto opened = FrontDoor::open(loop, poller, 0);
    REQUIRE(opened);
    door = std::move(*opened);
  }
  std::unique_ptr<FrontDoor> door;
};

struct Street {
  Loop loop;
  EdgePoller poller{loop};
  House a{loop, poller};
  House b{loop, poller};
  bool run_until(const std::function<bool()>& done) { return test::run_until(loop, done); }
};

/// One side of an attempt.
struct Side {
  Side(Street& street, House& house, bool controlling, const std::string& ufrag, std::uint64_t rank = 1)
      : door(*house.door),
        puncher(street.loop, street.poller, door, {controlling, true, rank, ufrag, kPwd + ufrag},
                [this](PunchedPath path) { paths.push_back(std::move(path)); }),
        description{ufrag, kPwd + ufrag, {}, {{proto::Door::Kind::kHost, "127.0.0.1", door.port()}}} {}

  FrontDoor& door;
  std::vector<PunchedPath> paths;
  Puncher puncher;
  proto::IceDescription description;
};

/// They are one connection: what is said here is heard there.
void check_joined(Side& a, Side& b) {
  REQUIRE(a.paths.size() == 1);
  REQUIRE(b.paths.size() == 1);
  CHECK(a.paths[0].local == b.paths[0].remote);
  CHECK(a.paths[0].remote == b.paths[0].local);
  CHECK(a.paths[0].local.port == a.door.port());
  CHECK(b.paths[0].local.port == b.door.port());
  CHECK(a.paths[0].host);
  // Checks that were under way stand before it: the taker answers those.
  const auto last_word = [](const ipc::Fd& from, const ipc::Fd& to, const std::string& word) {
    say(from, proto::as_bytes(word));
    std::string all;
    while (!all.ends_with(word)) {
      const std::string more = heard(to);
      REQUIRE(more != "closed");
      all += more;
    }
  };
  last_word(a.paths[0].socket, b.paths[0].socket, "from a");
  last_word(b.paths[0].socket, a.paths[0].socket, "from b");
}

}  // namespace

TEST_CASE("two daemons meet at each other's front door, whoever begins") {
  for (const int order : {0, 1, 2}) {
    INFO(order);
    Street street;
    Side caller(street, street.a, false, "caller");
    Side callee(street, street.b, true, "callee");
    // A callee knows the caller's description before anybody has its own.
    if (order == 0) caller.puncher.start(callee.description);
    callee.puncher.start(caller.description);
    if (order == 1) REQUIRE(street.run_until([&, turns = 0]() mutable { return ++turns > 2; }));
    if (order != 0) caller.puncher.start(callee.description);
    REQUIRE(street.run_until([&] { return !caller.paths.empty() && !callee.paths.empty(); }));
    check_joined(caller, callee);
  }
}

TEST_CASE("the callee comes by the caller's door before its answer is there") {
  Street street;
  Side caller(street, street.a, false, "caller");
  Side callee(street, street.b, true, "callee");
  callee.puncher.start(caller.description);
  REQUIRE(street.run_until([&] { return !caller.paths.empty() && !callee.paths.empty(); }));
  check_joined(caller, callee);
}

TEST_CASE("a door that is refused is tried again") {
  Street street;
  const std::uint16_t port = street.b.door->port();
  street.b.door.reset();
  Side caller(street, street.a, false, "caller");
  proto::IceDescription callees{"callee", kPwd + "callee", {}, {{proto::Door::Kind::kHost, "127.0.0.1", port}}};
  caller.puncher.start(callees);
  REQUIRE(street.run_until([&, turns = 0]() mutable { return ++turns > 20; }));
  auto opened = FrontDoor::open(street.loop, street.poller, port);
  REQUIRE(opened);
  street.b.door = std::move(*opened);
  Side callee(street, street.b, true, "callee");
  proto::IceDescription no_doors = caller.description;
  no_doors.doors.clear();  // it can only wait
  callee.puncher.start(no_doors);
  REQUIRE(street.run_until([&] { return !caller.paths.empty() && !callee.paths.empty(); }));
  REQUIRE(caller.paths.size() == 1);
  CHECK(caller.paths[0].remote.port == port);
}

TEST_CASE("two attempts that cross meet on one connection, and the lower one has it") {
  for (const bool first_is_lower : {true, false}) {
    INFO(first_is_lower);
    Street street;
    const std::uint64_t x = first_is_lower ? 1 : 2;
    const std::uint64_t y = first_is_lower ? 2 : 1;
    // X: a has called b. Y: b has called a. Neither has an answer, and both connect at once.
    Side ax(street, street.a, false, "ax", x);
    Side bx(street, street.b, true, "bx", x);
    Side ay(street, street.a, true, "ay", y);
    Side by(street, street.b, false, "by", y);
    bx.puncher.start(ax.description);
    ay.puncher.start(by.description);
    ax.puncher.start(bx.description);
    by.puncher.start(ay.description);
    REQUIRE(street.run_until(
        [&] { return (!ax.paths.empty() && !bx.paths.empty()) || (!ay.paths.empty() && !by.paths.empty()); }));
    CHECK(ax.paths.size() == bx.paths.size());
    CHECK(ay.paths.size() == by.paths.size());
    if (!ax.paths.empty()) check_joined(ax, bx);
    if (!ay.paths.empty()) check_joined(ay, by);
  }
}

TEST_CASE("what is no peer is left alone, and a peer's list has a bound") {
  Street street;
  Side caller(street, street.a, false, "caller");
  std::vector<ipc::Fd> listeners;
  proto::IceDescription many{"callee", kPwd + "callee", {}, {}};
  for (std::size_t i = 0; i < proto::IceDescription::kMaxDoors; ++i) {
    auto listener = listen_at(AF_INET, 0);
    REQUIRE(listener);
    many.doors.push_back({proto::Door::Kind::kMapped, "127.0.0.1", own_endpoint(listener->get())->port});
    listeners.push_back(std::move(*listener));
  }
  caller.puncher.start(many);
  std::vector<ipc::Fd> callers;
  std::vector<std::string> said(proto::IceDescription::kMaxDoors);
  REQUIRE(street.run_until([&] {
    for (const ipc::Fd& listener : listeners) {
      ipc::Fd one(::accept(listener.get(), nullptr, nullptr));
      if (!one) continue;
      say(one, proto::as_bytes("SSH-2.0-OpenSSH\r\n and more than a frame's length says"));
      callers.push_back(std::move(one));
    }
    return callers.size() == kMaxPunchTargets && std::all_of(callers.begin(), callers.end(), [](const ipc::Fd& fd) {
             const std::string all = heard(fd);
             return all == "closed";
           });
  }));
  REQUIRE(street.run_until([&, turns = 0]() mutable { return ++turns > 20; }));
  for (const ipc::Fd& listener : listeners) CHECK(::accept(listener.get(), nullptr, nullptr) < 0);
  CHECK(caller.paths.empty());
}

TEST_CASE("a peer cannot point us at this machine's own services, nor at what is no address of a machine") {
  Street street;
  auto listener = listen_at(AF_INET, 0);
  REQUIRE(listener);
  const std::uint16_t port = own_endpoint(listener->get())->port;
  std::vector<PunchedPath> paths;
  Puncher puncher(street.loop, street.poller, *street.a.door, {false, false, 1, "caller", kPwd},
                  [&](PunchedPath path) { paths.push_back(std::move(path)); });
  proto::IceDescription peers{"callee", kPwd, {}, {}};
  for (const char* address : {"127.0.0.1", "127.9.9.9", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1",
                              "::", "::ffff:127.0.0.1", "fe80::1", "ff02::1"}) {
    peers.doors.push_back({proto::Door::Kind::kHost, address, port});
  }
  puncher.start(peers);
  REQUIRE(street.run_until([&, turns = 0]() mutable { return ++turns > 20; }));
  CHECK(::accept(listener->get(), nullptr, nullptr) < 0);
}

TEST_CASE("a puncher that goes leaves nothing behind") {
  Street street;
  const std::size_t before = street.poller.size();
  {
    Side caller(street, street.a, false, "caller");
    Side callee(street, street.b, true, "callee");
    callee.puncher.start(caller.description);
    REQUIRE(street.run_until([&, turns = 0]() mutable { return ++turns > 3; }));
  }
  REQUIRE(street.run_until([&] { return street.a.door->strangers() + street.b.door->strangers() == 0; }));
  CHECK(street.poller.size() == before);
  CHECK(street.a.door->guest("caller") == nullptr);
}
