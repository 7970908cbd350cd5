// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/front_door.h"

#include <vector>

#include "proto/stun.h"
#include "tests/daemon/path_sockets.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;
using proto::StunAttribute;

namespace {

struct Guest final : FrontDoor::Guest {
  std::string_view door_password() const override { return "the-guests-own-password"; }
  std::uint64_t door_rank() const override { return 1; }
  void on_caller(ipc::Fd connection) override { callers.push_back(std::move(connection)); }
  std::vector<ipc::Fd> callers;
};

struct House {
  Loop loop;
  EdgePoller poller{loop};
  std::unique_ptr<FrontDoor> door;

  House() {
    auto opened = FrontDoor::open(loop, poller, 0);
    REQUIRE(opened);
    door = std::move(*opened);
  }
  ipc::Fd call(std::uint8_t from = 1) const { return test::call(loopback(door->port()), from); }
  bool run_until(const std::function<bool()>& done) { return test::run_until(loop, done); }
};

proto::ByteVector plain() {
  return proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kBinding, {1, 2, 3}).take();
}
proto::ByteVector check(std::string_view username, std::string_view password) {
  return proto::as_frame(proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kBinding, {1})
                             .add(StunAttribute::kUsername, username)
                             .add_integrity(password)
                             .add_fingerprint()
                             .take());
}

}  // namespace

TEST_CASE("the front door tells a stranger its address, once") {
  House house;
  const ipc::Fd stranger = house.call();
  const auto own = own_endpoint(stranger.get());
  std::string answer;
  SECTION("in one piece") {
    say(stranger, plain());
  }
  SECTION("byte by byte") {
    for (const std::uint8_t byte : plain()) {
      say(stranger, proto::Bytes(&byte, 1));
      REQUIRE(house.run_until([turns = 0]() mutable { return ++turns > 2; }));
    }
  }
  REQUIRE(house.run_until([&] { return !(answer = heard(stranger)).empty(); }));
  const auto view = proto::StunView::parse(proto::as_bytes(answer));
  REQUIRE(view);
  CHECK(view->is(proto::StunClass::kSuccess, proto::StunMethod::kBinding));
  CHECK(view->transaction() == proto::StunTransaction{1, 2, 3});
  CHECK(view->address(StunAttribute::kXorMappedAddress) == own);
  CHECK(house.door->counters().answered == 1);
  say(stranger, plain());
  REQUIRE(house.run_until([&] { return heard(stranger) == "closed"; }));
  CHECK(house.door->counters().answered == 1);
}

TEST_CASE("the front door gives a guest its callers, with their first word unread") {
  House house;
  Guest guest;
  house.door->expect("ours", guest);
  const ipc::Fd caller = house.call();
  const proto::ByteVector said = check("ours:theirs", "the-guests-own-password");
  say(caller, said);
  REQUIRE(house.run_until([&] { return !guest.callers.empty(); }));
  CHECK(heard(guest.callers[0]) == proto::as_text(said));
  CHECK(house.door->strangers() == 0);
  CHECK(house.door->counters().guests == 1);
  house.door->forget("ours");
  const ipc::Fd late = house.call();
  say(late, said);
  REQUIRE(house.run_until([&] { return heard(late) == "closed"; }));
  CHECK(guest.callers.size() == 1);
}

TEST_CASE("the front door says nothing to anybody else") {
  House house;
  Guest guest;
  house.door->expect("ours", guest);
  const std::pair<const char*, proto::ByteVector> cases[] = {
      {"another's password", check("ours:theirs", "no-password-of-the-guest")},
      {"another's name", check("other:theirs", "the-guests-own-password")},
      {"no name", check("", "the-guests-own-password")},
      {"a plain request with a name", proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kBinding, {})
                                          .add(StunAttribute::kUsername, "x")
                                          .take()},
      {"an indication", proto::StunWriter(proto::StunClass::kIndication, proto::StunMethod::kBinding, {}).take()},
      {"an allocation", proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kAllocate, {}).take()},
      {"HTTP", proto::ByteVector{'G', 'E', 'T', ' ', '/', '\r', '\n'}},
      {"TLS", proto::ByteVector{0x16, 3, 1, 0, 200}},
      {"zeros", proto::ByteVector(64)},
      {"a frame that is too long", proto::ByteVector{6, 0, 0, 1}},
      {"a long plain one", proto::ByteVector{0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0}},
  };
  for (const auto& [what, bytes] : cases) {
    INFO(what);
    const ipc::Fd stranger = house.call();
    say(stranger, bytes);
    std::string said;
    REQUIRE(house.run_until([&] { return !(said = heard(stranger)).empty(); }));
    CHECK(said == "closed");
  }
  CHECK(guest.callers.empty());
  CHECK(house.door->counters().answered == 0);
  CHECK(house.door->counters().closed == std::size(cases));
}

TEST_CASE("there are so many strangers and no more, of one address and of all") {
  House house;
  const bool few = GENERATE(false, true);  // descriptors
  const std::size_t most = few ? kMaxDoorStrangersOfOne + 1 : kMaxDoorStrangers;
  if (few) house.door->limit_strangers(most);
  std::vector<ipc::Fd> silent;
  for (std::size_t i = 0; i < kMaxDoorStrangersOfOne + 3; ++i) silent.push_back(house.call());
  REQUIRE(house.run_until([&] { return house.door->counters().strangers == silent.size(); }));
  CHECK(house.door->strangers() == kMaxDoorStrangersOfOne);
  CHECK(heard(silent.back()) == "closed");
  CHECK(heard(silent.front()).empty());
  // Of other addresses more come; the oldest go then.
  std::uint8_t from = 1;
  while (house.door->counters().strangers < kMaxDoorStrangers + 20) {
    const std::uint64_t before = house.door->counters().strangers;
    silent.push_back(house.call(++from));
    REQUIRE(house.run_until([&] { return house.door->counters().strangers > before; }));
  }
  CHECK(house.door->strangers() == most);
  CHECK(heard(silent.front()) == "closed");
  // And a guest comes in all the same.
  Guest guest;
  house.door->expect("ours", guest);
  const ipc::Fd caller = house.call(200);
  say(caller, check("ours:theirs", "the-guests-own-password"));
  REQUIRE(house.run_until([&] { return !guest.callers.empty(); }));
}

TEST_CASE("a stranger that says nothing has five seconds") {
  House house;
  const ipc::Fd silent = house.call();
  const auto begun = std::chrono::steady_clock::now();
  REQUIRE(house.run_until([&] { return heard(silent) == "closed"; }));
  const auto lasted = std::chrono::steady_clock::now() - begun;
  CHECK(lasted > std::chrono::seconds(4));
  CHECK(lasted < std::chrono::seconds(30));
}

TEST_CASE("a port that somebody listens at is told, also within one user, and connections from it are no hindrance") {
  House house;
  EdgePoller poller(house.loop);
  const auto second = FrontDoor::open(house.loop, poller, house.door->port());
  REQUIRE_FALSE(second);
  CHECK(second.failure().text.find(std::to_string(house.door->port())) != std::string::npos);
  // A connection from the port outlives the door, and the port can be had again.
  auto server = listen_at(AF_INET, 0);
  REQUIRE(server);
  const std::uint16_t port = house.door->port();
  const auto out = connect_from(port, loopback(own_endpoint(server->get())->port));
  REQUIRE(out);
  CHECK(own_endpoint(out->socket.get())->port == port);
  house.door.reset();
  CHECK(FrontDoor::open(house.loop, poller, port));
}
