// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/known_chains.h"

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::CertificateChain;

namespace {

/// Stores, and a clock that stands where it is put.
struct World {
  TempDir dir;
  Stores stores = *Stores::open(dir.path());
  std::int64_t now = kNow;
  KnownChains chains{stores, [this] { return now; }};

  void say(Trust trust, TrustKind kind, const proto::AccountId& id) {
    const TrustSubject subject(kind, id);
    REQUIRE((trust == Trust::kBanned ? stores.trust.ban(subject, 1) : stores.trust.allow(subject, 1)).ok());
  }
  bool takes(const ChainWanted& wanted, const CertificateChain& chain) const {
    return wanted(CheckedChain::of(chain, now));
  }
};

/// A chain for alice's key by the 4th key, a self-made account.
CertificateChain planted(proto::Validity validity = kValid) {
  Spec device = device_spec(0);
  device.validity = validity;
  return chain({device, issuer_spec(4)});
}
const proto::Validity kPast{kNow - 2 * kDay, kNow - kDay};
const proto::Validity kFuture{kNow + kDay, kNow + 2 * kDay};

}  // namespace

TEST_CASE("fault A3: to call, any chain of the key will do, but for a valid one that bans") {
  World world;
  auto seen = std::make_shared<KnownChains::Seen>();
  auto wanted = world.chains.for_call(seen);
  for (const auto& one : {planted(), planted(kPast), planted(kFuture), alice_chain(), chain({device_spec(0)})}) {
    CHECK(world.takes(wanted, one));
  }
  world.say(Trust::kBanned, TrustKind::kAccount, planted().account_id());
  CHECK(world.takes(wanted, planted(kPast)));
  CHECK(world.takes(wanted, alice_chain()));
  CHECK_FALSE(world.takes(wanted, planted()));
  CHECK_FALSE(seen->bans());  // alice's own speaks for her

  seen = std::make_shared<KnownChains::Seen>();
  wanted = world.chains.for_call(seen);
  CHECK_FALSE(world.takes(wanted, planted()));
  CHECK(seen->bans());
}

TEST_CASE("fault A3: to let in, only a chain that verifies, and allows; the others are passed over") {
  World world;
  world.say(Trust::kAllowed, TrustKind::kAccount, alice_chain().account_id());
  world.say(Trust::kBanned, TrustKind::kAccount, planted().account_id());
  auto seen = std::make_shared<KnownChains::Seen>();
  const auto wanted = world.chains.for_request(seen);
  Spec expired = device_spec(0);
  expired.validity = kPast;
  // The planter's leaf under the right account's certificate, which did not sign it.
  proto::ByteVector leaf = planted().der();
  leaf.resize(static_cast<std::size_t>(i2d_X509(planted().certificate(0), nullptr)));
  const auto forged = joined({leaf, alice_chain().issuers()->der()});
  CHECK(forged.account_id() == alice_chain().account_id());

  CHECK_FALSE(world.takes(wanted, planted()));
  CHECK_FALSE(world.takes(wanted, planted(kPast)));
  CHECK(!seen->fault);  // it would not have allowed
  CHECK_FALSE(world.takes(wanted, forged));
  CHECK(seen->fault == proto::make_error_code(proto::Errc::kCertificateChainBroken));
  CHECK_FALSE(world.takes(wanted, chain({expired, issuer_spec(1), issuer_spec(2)})));
  CHECK_FALSE(world.takes(wanted, chain({device_spec(0)})));
  CHECK(world.takes(wanted, alice_chain()));
  CHECK(seen->any);
  CHECK_FALSE(seen->bans());

  REQUIRE(world.stores.crls.add(crl_pem(1, {7})).ok());
  CHECK_FALSE(world.takes(wanted, alice_chain()));
}

TEST_CASE("fault A3: what is stored is verified when it is used, at the clock of that moment") {
  World world;
  const auto device = alice_chain().device_id();
  const auto account = alice_chain().account_id();
  world.say(Trust::kAllowed, TrustKind::kAccount, account);
  CHECK(world.chains.trust_of(device) == Trust::kUnknown);
  REQUIRE(world.chains.met(alice_chain()).ok());
  CHECK(world.chains.trust_of(device) == Trust::kAllowed);
  CHECK(world.chains.account_of(device) == account);
  struct Row {
    std::int64_t now;
    std::error_code fault;
  };
  for (const auto& [now, fault] :
       {Row{kValid.from_unix - 1, proto::make_error_code(proto::Errc::kCertificateNotYetValid)},
        Row{kValid.until_unix, proto::make_error_code(proto::Errc::kCertificateExpired)},
        Row{0, proto::make_error_code(proto::Errc::kCertificateNotYetValid)}}) {
    world.now = now;
    CHECK(world.chains.trust_of(device) == Trust::kUnknown);
    CHECK(world.chains.fault_of(device) == fault);
    CHECK_FALSE(world.chains.account_of(device));
    CHECK(world.chains.key_of(device) == alice_chain().public_key_der());  // enough to call it
    CHECK(alice_chain().verify(now).error() == fault);
    // Set right, all is as it was.
    world.now = kValid.from_unix;
    CHECK(world.chains.trust_of(device) == Trust::kAllowed);
    CHECK_FALSE(world.chains.fault_of(device));
  }
  // A list of the account's takes it back, and gives it back.
  const auto list = world.stores.crls.add(crl_pem(1, {7}));
  REQUIRE(list.ok());
  CHECK(world.chains.trust_of(device) == Trust::kUnknown);
  CHECK(world.chains.fault_of(device) == proto::make_error_code(proto::Errc::kCertificateRevoked));
  REQUIRE(*world.stores.crls.remove(*list));
  CHECK(world.chains.trust_of(device) == Trust::kAllowed);
  // What it shows in TLS later takes the place of it.
  REQUIRE(world.chains.met(planted()).ok());
  CHECK(world.chains.trust_of(device) == Trust::kUnknown);
  CHECK(world.chains.account_of(device) == planted().account_id());
}

TEST_CASE("fault A3: a ban holds for what a device has shown in TLS, valid or not") {
  World world;
  const auto device = alice_chain().device_id();
  REQUIRE(world.chains.met(alice_chain()).ok());
  world.say(Trust::kBanned, TrustKind::kCa, alice_chain().ca_id());
  CHECK(world.chains.trust_of(device) == Trust::kBanned);
  world.now = kValid.until_unix;
  CHECK(world.chains.trust_of(device) == Trust::kBanned);
  REQUIRE(world.stores.trust.allow(TrustSubject(device), 1).ok());
  CHECK(world.chains.trust_of(device) == Trust::kBanned);
}

TEST_CASE("fault A3: the store's own bound, and a damaged file, are no knowledge") {
  World world;
  const auto device = alice_chain().device_id();
  world.say(Trust::kAllowed, TrustKind::kAccount, alice_chain().account_id());
  REQUIRE(world.chains.met(alice_chain()).ok());
  write_file(world.dir.file("certificates/" + device.hex() + "." + alice_chain().short_device_id().hex() + ".tls"),
             "junk");
  world.stores.certificates = *CertificateStore::open(world.dir.file("certificates"));  // a later start
  CHECK(world.chains.trust_of(device) == Trust::kUnknown);
  CHECK_FALSE(world.chains.key_of(device));
  CHECK_FALSE(world.stores.certificates.contains(device));
}

TEST_CASE("fault B2: an allowed device that shows another account's chain is still what it was") {
  World world;
  const auto device = alice_chain().device_id();
  REQUIRE(world.chains.met(alice_chain()).ok());  // before it is allowed
  REQUIRE(world.stores.trust.allow(TrustSubject(device), 1).ok());
  REQUIRE(world.chains.met(planted()).ok());
  CHECK(world.chains.trust_of(device) == Trust::kAllowed);
  world.say(Trust::kBanned, TrustKind::kAccount, alice_chain().account_id());
  CHECK(world.chains.trust_of(device) == Trust::kBanned);
  CHECK(world.stores.trust.of(planted()) == Trust::kBanned);
}
