// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/resolver.h"

#include <future>
#include <memory>
#include <set>

#include <catch2/catch.hpp>
#include <netinet/in.h>

using namespace connd::daemon;

namespace {

/// A nameserver that answers when it is told to, and tells when its last asker has gone.
struct Nameserver {
  std::promise<void> answer;
  std::shared_future<void> answered{answer.get_future()};
  std::shared_ptr<std::promise<void>> gone = std::make_shared<std::promise<void>>();

  Resolver::Ask ask() {
    struct Token {
      std::shared_ptr<std::promise<void>> gone;
      explicit Token(std::shared_ptr<std::promise<void>> g) : gone(std::move(g)) {}
      ~Token() { gone->set_value(); }
    };
    return [answered = answered, token = std::make_shared<Token>(gone)](const std::string& host, const std::string&) {
      answered.wait();
      return host == "nobody" ? Resolver::Addresses{} : Resolver::Addresses(1);
    };
  }
};

}  // namespace

TEST_CASE("literals are told from names without asking anybody") {
  const auto v4 = numeric_addresses("192.0.2.7", "4222");
  REQUIRE(v4.size() == 1);
  CHECK(v4[0].storage.ss_family == AF_INET);
  CHECK(v4[0].length == sizeof(sockaddr_in));
  CHECK(ntohs(reinterpret_cast<const sockaddr_in&>(v4[0].storage).sin_port) == 4222);
  const auto v6 = numeric_addresses("2001:db8::7", "1");
  REQUIRE(v6.size() == 1);
  CHECK(v6[0].storage.ss_family == AF_INET6);
  CHECK(numeric_addresses("bootstrap.example", "4222").empty());
  CHECK(numeric_addresses("fe80::1%lo", "4222").size() == 1);
  CHECK(numeric_addresses("", "4222").empty());
  CHECK(numeric_addresses("192.0.2.7", "").empty());
  CHECK(numeric_addresses("192.0.2.7", "65536").empty());
}

TEST_CASE("fault D2: neither a turn of the loop nor its end waits for a dead nameserver") {
  Nameserver dead;
  auto loop = std::make_unique<Loop>();
  auto resolver = std::make_unique<Resolver>(*loop, dead.ask());
  std::set<int> called;
  for (int i = 0; i < 3; ++i) resolver->resolve("host", "4222", [&called, i](const auto&) { called.insert(i); });
  CHECK(resolver->under_way() == 3);
  Timer soon(*loop, [&] { loop->stop(); });
  soon.arm_in(std::chrono::milliseconds(1));
  loop->run();  // returns: the nameserver has not answered, and will not before the loop has gone
  CHECK(called.empty());
}

TEST_CASE("the resolver goes, and the loop after it, while names are under way; late answers are dropped") {
  Nameserver late;
  int called = 0;
  {
    Loop loop;
    Resolver resolver(loop, late.ask());
    resolver.resolve("host", "4222", [&](const auto&) { ++called; });
  }
  late.answer.set_value();
  late.gone->get_future().wait();  // the thread is through
  CHECK(called == 0);
}

TEST_CASE("names are asked at most so many at a time, each is answered once, and too many fail at once") {
  Nameserver server;
  Loop loop;
  Resolver resolver(loop, server.ask());
  const std::size_t all = kMaxNamesUnderWay + kMaxNamesWaiting + 3;
  std::size_t found = 0, empty = 0;
  const auto count = [&](const Resolver::Addresses& addresses) {
    ++(addresses.empty() ? empty : found);
    if (empty == 3 && found == 0) server.answer.set_value();  // what did not fit failed before anybody answered
    if (found + empty == all) loop.stop();
  };
  for (std::size_t i = 0; i < all; ++i) resolver.resolve("host", "1", count);
  CHECK(resolver.under_way() == kMaxNamesUnderWay);
  CHECK(found + empty == 0);  // never from inside the call
  loop.run();
  CHECK(empty == 3);
  CHECK(found == kMaxNamesUnderWay + kMaxNamesWaiting);
  CHECK(resolver.under_way() == 0);
}

TEST_CASE("a name that does not exist is answered with nothing; the callback may destroy the resolver") {
  Nameserver server;
  server.answer.set_value();
  Loop loop;
  auto resolver = std::make_unique<Resolver>(loop, server.ask());
  bool called = false;
  resolver->resolve("nobody", "1", [&](const auto& addresses) {
    CHECK(addresses.empty());
    called = true;
    resolver.reset();
    loop.stop();
  });
  loop.run();
  CHECK(called);
}

TEST_CASE("the real thing knows this machine") {
  Loop loop;
  Resolver resolver(loop);
  std::size_t count = 0;
  resolver.resolve("localhost", "4222", [&](const auto& addresses) {
    count = addresses.size();
    loop.stop();
  });
  loop.run();
  CHECK(count >= 1);
}
