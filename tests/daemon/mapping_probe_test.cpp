// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/mapping_probe.h"

#include <future>

#include "daemon/path/doors.h"
#include "tests/daemon/path_sockets.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

/// A daemon that asks, and one that is asked: a jami-connd's front door is a server for STUN over TCP.
struct Street {
  Loop loop;
  EdgePoller poller{loop};
  std::unique_ptr<FrontDoor> own = opened();
  std::unique_ptr<FrontDoor> server = opened();

  std::unique_ptr<FrontDoor> opened() {
    auto door = FrontDoor::open(loop, poller, 0);
    REQUIRE(door);
    return std::move(*door);
  }
  bool run_until(const std::function<bool()>& done) { return test::run_until(loop, done); }
};

}  // namespace

TEST_CASE("the mapping of the front door's port is learnt from another's front door") {
  Street street;
  MappingProbe probe(street.loop, street.poller, *street.own, {{"127.0.0.1", street.server->port()}});
  bool known = false;
  const MappingProbe::Question question(probe, [&] { known = true; });
  CHECK_FALSE(known);
  REQUIRE(street.run_until([&] { return known; }));
  CHECK(probe.mapped() == std::vector{loopback(street.own->port())});
  // Who asks next need not wait, and asks nobody.
  bool again = false;
  const MappingProbe::Question second(probe, [&] { again = true; });
  REQUIRE(street.run_until([&] { return again; }));
  CHECK(street.server->counters().answered == 1);
  // To a peer it is told unless it is an address of the machine's.
  Doors doors{*street.own, probe};
  const auto told = doors_to_tell(doors, {"192.0.2.1", "2001:db8::1"});
  REQUIRE(told.size() >= 2);
  CHECK(told[0] == proto::Door{proto::Door::Kind::kMapped, "127.0.0.1", street.own->port()});
  CHECK(told[1] == proto::Door{proto::Door::Kind::kHost, "192.0.2.1", street.own->port()});
  CHECK(doors_to_tell(doors, {"127.0.0.1"}).size() == 1);
  CHECK(doors_to_tell(doors, {"127.0.0.1"})[0].kind == proto::Door::Kind::kHost);
  probe.network_changed();
  CHECK(probe.mapped().empty());
}

TEST_CASE("a place that refuses is not waited for, and not asked again soon") {
  Street street;
  const std::uint16_t port = street.server->port();
  street.server.reset();
  MappingProbe probe(street.loop, street.poller, *street.own, {{"127.0.0.1", port}});
  for (int i = 0; i < 3; ++i) {
    bool known = false;
    const auto begun = std::chrono::steady_clock::now();
    const MappingProbe::Question question(probe, [&] { known = true; });
    REQUIRE(street.run_until([&] { return known; }));
    CHECK(std::chrono::steady_clock::now() - begun < kProbeWait);
    if (i == 0) street.server = std::move(*FrontDoor::open(street.loop, street.poller, port));
  }
  CHECK(probe.mapped().empty());
  CHECK(street.server->counters().strangers == 0);
}

TEST_CASE("a place that is silent, a name that nobody knows yet: an attempt waits no longer than it may") {
  Street street;
  auto silent = listen_at(AF_INET, 0);
  REQUIRE(silent);
  std::promise<void> answer;
  const auto ask = [answered = answer.get_future().share()](const std::string&, const std::string&) {
    answered.wait();
    return Resolver::Addresses{};
  };
  MappingProbe probe(street.loop, street.poller, *street.own,
                     {{"127.0.0.1", own_endpoint(silent->get())->port}, {"name.example", 1}}, ask);
  bool known = false;
  const auto begun = std::chrono::steady_clock::now();
  const MappingProbe::Question question(probe, [&] { known = true; });
  REQUIRE(street.run_until([&] { return known; }));
  CHECK(std::chrono::steady_clock::now() - begun >= kProbeWait - std::chrono::milliseconds(5));
  CHECK(probe.mapped().empty());
  answer.set_value();
}

TEST_CASE("answers that are none, or lies, are not believed") {
  Street street;
  using proto::StunAttribute;
  using proto::StunClass;
  auto listener = listen_at(AF_INET, 0);
  REQUIRE(listener);
  const auto reply = [&](const proto::StunTransaction& transaction, int which) -> proto::ByteVector {
    proto::StunWriter writer(which == 2 ? StunClass::kError : StunClass::kSuccess, proto::StunMethod::kBinding,
                             which == 1 ? proto::StunTransaction{} : transaction);
    proto::IpEndpoint mapped = loopback(which == 3 ? 0 : 7);
    if (which == 4) mapped.is_ipv6 = true;
    if (which == 5) mapped.address = {224, 0, 0, 1};
    if (which == 6) return proto::ByteVector(40, 'x');
    if (which != 0) writer.add_address(StunAttribute::kXorMappedAddress, mapped);
    return writer.take();
  };
  for (int which = 0; which <= 6; ++which) {
    INFO(which);
    MappingProbe probe(street.loop, street.poller, *street.own, {{"127.0.0.1", own_endpoint(listener->get())->port}});
    bool known = false;
    const MappingProbe::Question question(probe, [&] { known = true; });
    ipc::Fd server;
    bool answered = false;
    REQUIRE(street.run_until([&] {
      if (!server) server.reset(::accept(listener->get(), nullptr, nullptr));
      if (server && !answered) {
        const std::string request = heard(server);
        if (!request.empty()) {
          say(server, reply(proto::StunView::parse(proto::as_bytes(request))->transaction(), which));
          answered = true;
        }
      }
      return known;
    }));
    CHECK(answered);
    CHECK(probe.mapped().empty());
  }
}
