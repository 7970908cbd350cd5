// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/certificate_request.h"

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::proto;
using namespace connd::test;

TEST_CASE("a request carries its key, and proves that its sender has it") {
  const auto request = make_certificate_request(key_pem(0));
  REQUIRE(request.ok());
  const auto key_in_it = key_of_certificate_request(*request);
  REQUIRE(key_in_it.ok());
  CHECK(*key_in_it == public_key_der_of(key(0)));

  std::string forged = *request;
  const std::size_t at = forged.size() / 2;
  forged[at] = forged[at] == 'A' ? 'B' : 'A';
  CHECK_FALSE(key_of_certificate_request(forged).ok());
  CHECK(key_of_certificate_request("").error() == Errc::kCertificateUnreadable);
  CHECK(key_of_certificate_request(key_pem(0)).error() == Errc::kCertificateUnreadable);
  CHECK(key_of_certificate_request(std::string(kMaxRequestPemBytes + 1, ' ')).error() == Errc::kCertificateUnreadable);
  CHECK(make_certificate_request("no key").error() == Errc::kKeyUnreadable);
}

TEST_CASE("an encrypted key opens with its passphrase alone") {
  const auto one = encrypt_private_key(key_pem(0), "correct horse");
  const auto two = encrypt_private_key(key_pem(1), "correct horse");
  REQUIRE((one.ok() && two.ok()));
  CHECK(has_encrypted_key(*one));
  CHECK_FALSE(has_encrypted_key(key_pem(0)));
  const std::string file = *one + *two + alice_chain().pem();
  const auto keys = decrypt_private_keys(file, "correct horse");
  REQUIRE(keys.ok());
  REQUIRE(keys->size() == 2);
  CHECK((*keys)[0].view() == key_pem(0));
  CHECK((*keys)[1].view() == key_pem(1));
  CHECK(decrypt_private_keys(file, "battery staple").error() == Errc::kKeyUnreadable);
  CHECK(decrypt_private_keys(alice_chain().pem(), "correct horse").error() == Errc::kKeyUnreadable);
  CHECK(encrypt_private_key("no key", "x").error() == Errc::kKeyUnreadable);
}
