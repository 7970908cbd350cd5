// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/connection_manager.h: dates, revocations, and chains that requests carry.
#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/connection/connection_manager.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

/// An account with its key, and how it certifies keys of devices.
struct Account {
  proto::GeneratedIdentity made = generated();
  proto::CertificateChain issuers = *proto::CertificateChain::from_pem(made.chain_pem)->issuers();

  static proto::Validity today() {
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    return {now - 3'600, now + 86'400};
  }
  static proto::GeneratedIdentity generated() {
    proto::IdentityOptions options;
    options.rsa_bits = 2048;
    options.validity = today();
    return *proto::generate_identity(options);
  }
  /// Another certificate each time.
  proto::Identity certify(const proto::SecretText& device_key) const {
    const auto key = proto::public_key_der_from(device_key.view());
    const auto chain = proto::issue_device_certificate(made.account_key_pem.view(), issuers, *key, "device", today());
    return *proto::Identity::load(device_key.view(), chain->pem());
  }
  proto::RevocationList takes_back(const proto::Identity& device) const {
    return *proto::RevocationList::issue(made.account_key_pem.view(), *issuers.certificate(0), nullptr,
                                         {device.chain.certificate(0)}, std::time(nullptr));
  }
};

/// Why the last connection of that event was not to be: "reason: text".
std::string told(const Node& node, const std::string& type) {
  std::string out;
  for (const auto& [name, data] : node.all_events) {
    if (name == type) out = data["reason"].get<std::string>() + ": " + data.value("detail", "");
  }
  return out;
}

constexpr const char* kToldTakenBack = "bad-certificate: the account that the peer had when it was met has revoked it";

}  // namespace

TEST_CASE("fault B3: a connection ends when the peer's certificate has expired meanwhile") {
  World world;
  Exchange exchange{world};
  std::int64_t now = std::time(nullptr);
  Node alice(exchange, 0);
  Node bob(exchange, 1, {.clock = [&now] { return now; }});
  bob.allow(alice);
  auto result = alice.open(bob, "x");
  (void)opened(result);
  now += 3'600;
  bob.manager->dates_changed();
  CHECK(bob.manager->connection_count() == 1);
  now -= 365 * 86'400;  // a clock that was set back says nothing of the peer
  bob.manager->dates_changed();
  CHECK(bob.manager->connection_count() == 1);
  now = alice.chain.validity()->until_unix;
  bob.manager->dates_changed();
  REQUIRE(world.run_until([&] { return bob.events("connection.closed") == 1; }));
  const auto closed = std::find_if(bob.all_events.begin(), bob.all_events.end(),
                                   [](const auto& event) { return event.first == "connection.closed"; });
  CHECK(closed->second["reason"] == "bad-certificate");
  CHECK(closed->second["detail"].get<std::string>().find("the peer's certificate has expired; this device's clock") ==
        0);
}

TEST_CASE("fault A4: who is allowed by its account is let in by the chain that its request carries") {
  World world;
  Exchange exchange{world};
  Node alice(exchange, 0, {.shows_chain = true});
  Node bob(exchange, 1);
  bob.allow_account(alice);
  std::vector<bool> carried;
  exchange.filter = [&](const proto::DeviceId&, const proto::DeviceId& to, const proto::ByteVector& body) {
    const auto request = proto::ConnectionRequest::decode(body);
    REQUIRE(request);
    if (to != bob.id) CHECK(request->chain.empty());  // an answer
    if (to == bob.id) carried.push_back(!request->chain.empty());
    return to != bob.id || carried.size() > 2;  // two are lost
  };
  auto result = alice.open(bob, "x");
  (void)opened(result);
  CHECK(carried == std::vector<bool>{true, false, true});
  CHECK(exchange.lookups == 1);  // hers, of his key
}

TEST_CASE("fault B2: whatever account a device shows, that which it had when it was met can revoke it") {
  World world;
  Exchange exchange{world};
  const Account first;
  const Account second;
  const proto::SecretText& key = first.made.device_key_pem;
  const proto::Identity as_met = first.certify(key);
  const proto::Identity as_another = second.certify(key);
  const TempDir bobs;
  const auto list = first.takes_back(as_met);
  {
    Node bob(exchange, 1, {.state = &bobs});
    {
      Node alice(exchange, 0, {.shows = &as_met});
      bob.allow(alice);
      auto result = alice.open(bob, "x");
      (void)opened(result);
    }
    Node alice(exchange, 0, {.shows = &as_another});
    auto result = alice.open(bob, "x");
    (void)opened(result);
    REQUIRE(bob.manager->channels().size() == 1);
    REQUIRE(bob.stores().crls.add(list.pem()).ok());
    bob.manager->lists_changed();
    REQUIRE(world.run_until([&] { return bob.events("connection.closed") == 2; }));
    CHECK(told(bob, "connection.closed") == kToldTakenBack);
    CHECK(bob.manager->channels().size() == 0);
    bob.settle();
  }
  // Another start: it does not come in, and is not called.
  Node bob(exchange, 1, {.state = &bobs});
  {
    Node alice(exchange, 0, {.shows = &as_another});
    alice.allow(bob);
    CHECK(failed(alice.open(bob, "x", false, false, 3s)) != Reason::kClosed);
    CHECK(told(bob, "connection.failed") == kToldTakenBack);
    CHECK(bob.manager->channels().size() == 0);
    CHECK(failed(bob.open(alice, "y", false, false, 5s)) == Reason::kBadCertificate);
  }
  // The first account has certified it again.
  const proto::Identity again = first.certify(key);
  Node alice(exchange, 0, {.shows = &again});
  auto result = alice.open(bob, "x");
  (void)opened(result);
  bob.settle();
}

TEST_CASE("fault B2: only the account that a device had, and no list of others, takes it back") {
  World world;
  Exchange exchange{world};
  const Account first;
  const Account second;
  const Account third;
  const proto::SecretText& key = first.made.device_key_pem;
  const proto::Identity as_met = first.certify(key);
  const proto::Identity as_another = second.certify(key);
  Node bob(exchange, 1);
  {
    Node alice(exchange, 0, {.shows = &as_met});
    bob.allow(alice);
    auto result = alice.open(bob, "x");
    (void)opened(result);
  }
  Node alice(exchange, 0, {.shows = &as_another});
  // Of the same serial number, by another key; and by the right key, of another certificate.
  const proto::Identity of_third = third.certify(key);
  for (const auto& list :
       {third.takes_back(as_met), third.takes_back(of_third), first.takes_back(first.certify(key))}) {
    REQUIRE(bob.stores().crls.add(list.pem()).ok());
  }
  bob.manager->lists_changed();
  auto result = alice.open(bob, "x");
  (void)opened(result);
  // Forgotten and allowed again it is what it shows now.
  bob.unset(alice);
  bob.allow(alice);
  REQUIRE(bob.manager->remember(alice.id).ok());
  REQUIRE(bob.stores().crls.add(first.takes_back(as_met).pem()).ok());
  bob.manager->lists_changed();
  auto other = alice.open(bob, "y");
  (void)opened(other);
  bob.settle();
}
