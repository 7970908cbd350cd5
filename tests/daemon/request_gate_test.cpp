// SPDX-License-Identifier: GPL-3.0-or-later
// Whom the gate lets in, with a DHT on which anybody has put what he likes. Rates, questions and bans of devices are in
// connection_manager_test.cpp and the tests with real daemons.
#include "daemon/connection/request_gate.h"

#include <cstring>
#include <map>

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::CertificateChain;
using proto::Reason;

namespace {

/// A gate before a DHT that holds `there`, in that order.
class Gated final : private Signalling, private ConnectionAsker {
 public:
  explicit Gated(IceRequestPolicy policy = IceRequestPolicy::kTrusted) {
    GateSettings settings;
    settings.policy = policy;
    Signalling& signalling = *this;
    ConnectionAsker& asker = *this;
    gate.emplace(loop, signalling, stores, chains, asker, questions_, settings);
  }

  RequestGate::Verdict judge(const CertificateChain& signer = alice_chain(), const proto::ByteVector& carried = {}) {
    std::optional<RequestGate::Verdict> out;
    const int before = lookups;
    gate->judge(signer.device_id(), signer.short_device_id(), carried, [&](const RequestGate::Verdict& v) { out = v; });
    if (!carried.empty()) run_until([&] { return out || lookups > before || asked; });  // it is read on the pool
    if (pending) std::exchange(pending, nullptr)();
    if (!out) {
      REQUIRE(asked);
      gate->answer(asked->number, true);
    }
    REQUIRE(out);
    return *out;
  }
  void allow(const proto::AccountId& account) {
    REQUIRE(stores.trust.allow(TrustSubject(TrustKind::kAccount, account), 1).ok());
  }
  void ban(const proto::AccountId& account) {
    REQUIRE(stores.trust.ban(TrustSubject(TrustKind::kAccount, account), 1).ok());
  }

  void run_until(const std::function<bool()>& done) {
    BeforeWait check(loop, [&] {
      if (done()) loop.stop();
    });
    if (!done()) loop.run();
  }
  /// What was put off to a later turn runs.
  void pass_a_turn() {
    Timer end(loop, [this] { loop.stop(); });
    end.arm_in(std::chrono::milliseconds(1));
    loop.run();
  }

  TempDir dir;
  Loop loop;
  Stores stores = *Stores::open(dir.path());
  std::int64_t now = kNow;
  KnownChains chains{stores, [this] { return now; }};
  std::optional<RequestGate> gate;
  std::vector<CertificateChain> there;
  std::vector<CertificateChain> announced;
  int lookups = 0;
  int device_searches = 0;
  std::function<void()> pending;
  std::optional<Question> asked;

 private:
  void find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>&, proto::TimePoint, ChainUse,
                  ChainWanted wanted, std::function<void(std::optional<CertificateChain>)> done) override {
    ++lookups;
    pending = [this, device, wanted = std::move(wanted), done = std::move(done)] {
      for (const CertificateChain& one : there) {
        if (one.device_id() == device && wanted(CheckedChain::of(one, now))) return done(one);
      }
      done(std::nullopt);
    };
  }
  void find_devices(const proto::AccountId& account, proto::TimePoint,
                    std::function<void(const std::optional<FoundDevice>&)> found) override {
    ++device_searches;
    for (const CertificateChain& one : announced) {
      if (one.account_id() == account) found(FoundDevice{one.device_id(), one.short_device_id(), one.public_key_der()});
    }
    found(std::nullopt);
  }
  void send(const SignalTarget&, proto::Bytes) override {}
  void listen_pairs(const std::vector<proto::PairListen>&) override {}
  bool ask_connection(const Question& question) override {
    asked = question;
    return true;
  }
  void connection_question_over(std::uint64_t) override {}

  proto::HandleSource questions_;
};

CertificateChain of_account(std::size_t account, proto::Validity validity = kValid) {
  Spec device = device_spec(0);
  device.validity = validity;
  return chain({device, issuer_spec(account)});
}
const proto::Validity kPast{kNow - 2 * kDay, kNow - kDay};

}  // namespace

TEST_CASE("fault A3: chains that others have made hide neither the right one, nor do they ban or refuse") {
  Gated here;
  here.allow(alice_chain().account_id());
  here.ban(of_account(4).account_id());
  here.there = {of_account(5, kPast), of_account(5), of_account(4), alice_chain(), of_account(6)};
  CHECK(here.judge().accept);
  CHECK(here.lookups == 1);
  CHECK(here.stores.certificates.size() == 0);  // seen in TLS is what is stored
}

TEST_CASE("fault A3: chains that others have made let nobody in") {
  Gated here;
  here.allow(bob_chain().account_id());
  here.there = {of_account(4), of_account(5, kPast)};
  const auto verdict = here.judge();
  CHECK_FALSE(verdict.accept);
  CHECK(verdict.reason == Reason::kNotPermitted);
}

TEST_CASE("fault A3: an allowed device needs no chain, and none on the DHT is its ban") {
  Gated here;
  REQUIRE(here.stores.trust.allow(TrustSubject(alice_chain().device_id()), 1).ok());
  here.ban(of_account(4).account_id());
  here.there = {of_account(4)};
  CHECK(here.judge().accept);
  CHECK(here.lookups == 0);
}

TEST_CASE("fault A3: a renewed certificate is looked for where the stored one is valid no more") {
  Gated here;
  Spec old = device_spec(0);
  old.validity = {kNow - 9 * kDay, kNow};
  const CertificateChain former = chain({old, issuer_spec(1), issuer_spec(2)});
  here.allow(former.account_id());
  here.now = kNow - 1;
  REQUIRE(here.chains.met(former).ok());
  CHECK(here.judge().accept);
  CHECK(here.lookups == 0);
  here.now = kNow;
  here.there = {former};
  auto verdict = here.judge();
  CHECK(verdict.reason == Reason::kBadCertificate);
  CHECK(verdict.text.find("expired") != std::string::npos);
  // It was not put on the list of those that are not looked for again.
  here.there = {former, alice_chain()};
  CHECK(here.judge().accept);
  CHECK(here.lookups == 2);
}

TEST_CASE("fault A3: who left a stored account for one that is allowed is let in; a ban in store holds") {
  Gated here;
  REQUIRE(here.chains.met(of_account(4)).ok());
  here.allow(alice_chain().account_id());
  here.there = {alice_chain()};
  CHECK(here.judge().accept);
  here.ban(of_account(4).account_id());
  CHECK(here.judge().reason == Reason::kBanned);
  CHECK(here.lookups == 1);
}

TEST_CASE("fault A3: where nothing valid speaks for a device, what bans it counts") {
  for (const auto policy : {IceRequestPolicy::kTrusted, IceRequestPolicy::kAnyone, IceRequestPolicy::kAsk}) {
    Gated here(policy);
    here.ban(alice_chain().account_id());
    here.there = {of_account(4, kPast), alice_chain()};
    CHECK(here.judge().reason == Reason::kBanned);
    here.there = {of_account(4), alice_chain()};
    CHECK(here.judge().accept == (policy != IceRequestPolicy::kTrusted));
  }
}

TEST_CASE("fault A3: a question names the account that was shown in TLS, none that was found") {
  Gated here(IceRequestPolicy::kAsk);
  here.allow(bob_chain().account_id());
  here.there = {of_account(4)};
  CHECK(here.judge().accept);
  CHECK_FALSE(here.asked->account);
  REQUIRE(here.chains.met(of_account(5)).ok());
  CHECK(here.judge().accept);
  CHECK(here.asked->account == of_account(5).account_id());
}

TEST_CASE("fault F: a question that nobody answered is not told as one that was declined") {
  Gated here(IceRequestPolicy::kAsk);
  std::vector<std::string> told;
  const auto ask = [&] {
    const CertificateChain& signer = alice_chain();
    here.gate->judge(signer.device_id(), signer.short_device_id(), {}, [&](const RequestGate::Verdict& verdict) {
      CHECK(verdict.reason == Reason::kDeclined);
      told.push_back(verdict.text);
    });
  };
  ask();
  REQUIRE(here.asked);
  CHECK(here.asked->deadline > here.loop.now());
  here.gate->answer(here.asked->number, false);
  GateSettings settings;
  settings.policy = IceRequestPolicy::kAsk;
  settings.ask_time = proto::Duration{0};
  here.gate->set_settings(settings);
  ask();
  here.pass_a_turn();
  CHECK(told == std::vector<std::string>{"declined here", "nobody here answered in time"});
}

TEST_CASE("fault A3: who was banned, or allowed, while its chain was looked for") {
  Gated here;
  here.allow(alice_chain().account_id());
  here.there = {alice_chain()};
  std::optional<RequestGate::Verdict> out;
  const auto ask = [&] {
    here.gate->judge(alice_chain().device_id(), alice_chain().short_device_id(), {},
                     [&](const RequestGate::Verdict& v) { out = v; });
  };
  ask();
  here.ban(alice_chain().account_id());
  std::exchange(here.pending, nullptr)();
  REQUIRE(out);
  CHECK(out->reason == Reason::kBanned);
  here.there = {};
  REQUIRE(*here.stores.trust.unset(TrustSubject(TrustKind::kAccount, alice_chain().account_id())));
  here.allow(bob_chain().account_id());
  REQUIRE(here.stores.trust.unset(TrustSubject(alice_chain().device_id())).ok());
  ask();
  REQUIRE(here.stores.trust.allow(TrustSubject(alice_chain().device_id()), 1).ok());
  std::exchange(here.pending, nullptr)();
  CHECK(out->accept);
}

TEST_CASE("fault A4: what a request carries decides, and nothing is looked up") {
  Gated here;
  here.allow(alice_chain().account_id());
  CHECK(here.judge(alice_chain(), alice_chain().der()).accept);
  // Strangers, by their own word.
  for (int i = 0; i < 100; ++i) {
    CHECK(here.judge(of_account(4), of_account(4).der()).reason == Reason::kNotPermitted);
  }
  CHECK(here.lookups == 0);
  // What would be good and is not is said, and not looked for elsewhere.
  here.there = {alice_chain()};
  Spec old = device_spec(0);
  old.validity = kPast;
  const auto expired = chain({old, issuer_spec(1), issuer_spec(2)});
  const auto verdict = here.judge(alice_chain(), expired.der());
  CHECK(verdict.reason == Reason::kBadCertificate);
  CHECK(verdict.text.find("the peer shows a certificate that has expired") == 0);
  // A leaf of her key under the right account's certificate, which did not sign it.
  proto::ByteVector leaf = of_account(4).der();
  leaf.resize(static_cast<std::size_t>(i2d_X509(of_account(4).certificate(0), nullptr)));
  const auto forged = joined({leaf, alice_chain().issuers()->der()});
  CHECK(here.judge(alice_chain(), forged.der()).reason == Reason::kBadCertificate);
  CHECK(here.lookups == 0);
  here.ban(alice_chain().ca_id());
  CHECK(here.judge(alice_chain(), alice_chain().der()).reason == Reason::kBanned);
  CHECK(here.stores.certificates.size() == 0);
}

TEST_CASE("fault A4: what a request carries of somebody else, or is no chain, is as nothing") {
  Gated here;
  here.allow(bob_chain().account_id());
  here.there = {of_account(4)};
  for (const proto::ByteVector& carried :
       {bob_chain().der(), proto::ByteVector{1, 2, 3}, proto::ByteVector(6'000, 0x30)}) {
    CHECK(here.judge(of_account(4), carried).reason == Reason::kNotPermitted);
  }
  CHECK(here.lookups == 3);
}

TEST_CASE("fault A4: a hundred strangers keep nobody out who comes later") {
  Gated here;
  here.allow(alice_chain().account_id());
  std::map<Reason, int> refused;
  const auto stranger = [&](std::uint32_t number) {
    proto::DeviceId id;
    proto::ShortDeviceId short_id;
    std::memcpy(id.bytes.data(), &number, sizeof number);
    here.gate->judge(id, short_id, {}, [&](const RequestGate::Verdict& v) { ++refused[v.reason]; });
  };
  constexpr int kAll = 300;
  for (std::uint32_t i = 1; i <= kAll; ++i) stranger(i);
  CHECK(here.lookups == 2);
  const GateSettings settings;
  // Each one more takes the place of any that waits; who is refused so may come again.
  CHECK(refused[Reason::kBusy] == kAll - 2 - static_cast<int>(settings.max_waiting_lookups));
  // A friend whose request carries her chain is let in meanwhile; so is one that her account has announced.
  CHECK(here.judge(alice_chain(), alice_chain().der()).accept);
  here.announced = {alice_chain()};
  here.gate->trust_changed();
  here.pass_a_turn();
  CHECK(here.device_searches >= 1);
  CHECK(here.judge().accept);
  CHECK(here.lookups == 2);
  // And one without either waits with the others, whoever came first.
  here.announced = {};
  bool waits = true;
  here.gate->judge(bob_chain().device_id(), bob_chain().short_device_id(), {},
                   [&](const RequestGate::Verdict&) { waits = false; });
  CHECK(waits);
  CHECK(refused[Reason::kBusy] == kAll - 1 - static_cast<int>(settings.max_waiting_lookups));
}

TEST_CASE("fault A4: an announcement counts while the account is allowed") {
  Gated here;
  here.announced = {alice_chain()};
  here.allow(alice_chain().account_id());
  here.gate->trust_changed();
  here.pass_a_turn();
  CHECK(here.judge().accept);
  // What is above the account is seen in TLS.
  here.ban(alice_chain().account_id());
  CHECK_FALSE(here.judge().accept);
}

TEST_CASE("fault A6: what requests carry is read off the loop, of so many at once, and the list of then counts") {
  Gated here;
  here.allow(alice_chain().account_id());
  constexpr int kAll = 300;
  std::map<Reason, int> refused;
  int accepted = 0;
  const auto ask = [&](const CertificateChain& chain) {
    here.gate->judge(chain.device_id(), chain.short_device_id(), chain.der(),
                     [&](const RequestGate::Verdict& v) { v.accept ? ++accepted : ++refused[v.reason]; });
  };
  ask(alice_chain());
  CHECK(accepted == 0);
  for (int i = 1; i < kAll; ++i) ask(of_account(4));
  CHECK(refused[Reason::kBusy] == kAll - 256);  // may come again
  here.run_until([&] { return accepted + refused[Reason::kNotPermitted] == 256; });
  CHECK(accepted == 1);
  // Banned while it is read; and the gate's end is the end of it.
  ask(alice_chain());
  here.ban(alice_chain().account_id());
  here.run_until([&] { return refused[Reason::kBanned] == 1; });
  ask(alice_chain());
  here.gate.reset();
  here.pass_a_turn();
  CHECK(accepted + refused[Reason::kNotPermitted] + refused[Reason::kBanned] == 257);
}
