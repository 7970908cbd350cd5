// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/revocation_list.h"

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::proto;
using namespace connd::test;

namespace {

RevocationList list(std::size_t issuer, const std::vector<long>& serials) {
  return *RevocationList::from_pem(crl_pem(issuer, serials));
}

bool revoked(const RevocationList& list, const CertificateChain& chain, std::size_t i) {
  return list.revokes(*chain.certificate(i), *chain.certificate(i + 1));
}

}  // namespace

TEST_CASE("a list revokes what its issuer issued and it names, nothing else") {
  const CertificateChain& alice = alice_chain();  // device 0 <- account 1 <- CA 2, all of serial 7
  CHECK(revoked(list(1, {3, 7, 9}), alice, 0));
  CHECK_FALSE(revoked(list(1, {3, 9}), alice, 0));
  CHECK_FALSE(revoked(list(1, {}), alice, 0));
  CHECK_FALSE(revoked(list(1, {7}), alice, 1));
  CHECK(revoked(list(2, {7}), alice, 1));
  CHECK_FALSE(revoked(list(2, {7}), alice, 0));
}

TEST_CASE("a list that its issuer has not signed revokes nothing") {
  auto der = list(1, {7}).der();
  der[der.size() - 1] ^= 1;  // in the signature
  const auto forged = RevocationList::from_der(der);
  REQUIRE(forged.ok());
  CHECK_FALSE(revoked(*forged, alice_chain(), 0));
}

TEST_CASE("verify refuses a revoked chain, at any place below the top") {
  for (const std::size_t issuer : {std::size_t{1}, std::size_t{2}}) {
    const RevocationList crl = list(issuer, {7});
    const IsRevoked is_revoked = [&](const X509& own, const X509& above) { return crl.revokes(own, above); };
    CHECK(alice_chain().verify(kNow, is_revoked).error() == Errc::kCertificateRevoked);
    CHECK(alice_chain().has_revoked(is_revoked));
  }
  const IsRevoked never = [](const X509&, const X509&) { return false; };
  CHECK(alice_chain().verify(kNow, never).ok());
  CHECK_FALSE(alice_chain().has_revoked(never));
}

TEST_CASE("what a list is made of, and what is none") {
  const RevocationList crl = list(1, {1, 2, 3});
  CHECK(crl.size() == 3);
  CHECK(crl.id().size() == 64);
  CHECK(crl.issuer().rfind("CN=", 0) == 0);
  const auto der = crl.der();
  const auto again = RevocationList::from_der(der);
  REQUIRE(again.ok());
  CHECK(again->id() == crl.id());

  CHECK(RevocationList::from_pem("").error() == Errc::kCertificateUnreadable);
  CHECK(RevocationList::from_pem(alice_chain().pem()).error() == Errc::kCertificateUnreadable);
  CHECK(RevocationList::from_pem(crl_pem(1, {7}, true)).error() == Errc::kCertificateUnreadable);
  CHECK(RevocationList::from_pem(std::string(2 * RevocationList::kMaxDerBytes + 1, 'x')).error() == Errc::kTooLong);
  auto trailing = der;
  trailing.push_back(0);
  CHECK(RevocationList::from_der(trailing).error() == Errc::kCertificateUnreadable);
  // BER: the outermost length in a longer form.
  REQUIRE(der[1] == 0x82);
  auto ber = der;
  ber[1] = 0x83;
  ber.insert(ber.begin() + 2, 0);
  CHECK(RevocationList::from_der(ber).error() == Errc::kCertificateUnreadable);
  for (std::size_t n = 0; n < der.size(); n += 7) {
    CHECK_FALSE(RevocationList::from_der(Bytes(der).first(n)).ok());
  }
}

TEST_CASE("fault B7: an account's list is signed, numbered, and has all that was in the one before") {
  const auto& alice = alice_chain();
  const auto& bob = bob_chain();
  const X509& account = *alice.certificate(1);
  const std::string account_key = key_pem(1);
  const auto first = RevocationList::issue(account_key, account, nullptr, {alice.certificate(0)}, kNow);
  REQUIRE(first);
  CHECK(first->number() == 1);
  CHECK(first->made_unix() == kNow);
  CHECK(first->due_unix() > kNow);
  CHECK(first->is_signed_by(account));
  CHECK_FALSE(first->is_signed_by(*alice.certificate(2)));
  CHECK(first->revokes(*alice.certificate(0), account));
  CHECK(RevocationList::from_pem(first->pem())->id() == first->id());
  const auto second = RevocationList::issue(account_key, account, &*first, {bob.certificate(0)}, kNow + 1);
  REQUIRE(second);
  CHECK(second->number() == 2);
  CHECK(second->revokes(*alice.certificate(0), account));
  CHECK(second->covers(*first));
  CHECK(RevocationList::issue(key_pem(2), account, nullptr, {}, kNow).error() == Errc::kKeyMismatch);
  CHECK(RevocationList::issue("no key", account, nullptr, {}, kNow).error() == Errc::kKeyUnreadable);
}
