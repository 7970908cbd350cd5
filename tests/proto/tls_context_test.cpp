// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tls_context.h"

#include <catch2/catch.hpp>

#include "tests/proto/certificates.h"

using namespace connd::proto;
using namespace connd::test;

TEST_CASE("a context needs a key of its own chain, and a strong one") {
  CHECK(TlsContext::create(identity(0, alice_chain())));
  Identity mixed = identity(0, alice_chain());
  mixed.key = identity(3, bob_chain()).key;
  CHECK(TlsContext::create(mixed).error() == Errc::kKeyMismatch);

  PkeyPtr weak(EVP_RSA_gen(1024));
  Spec device = device_spec(0);
  device.other_key = weak.get();
  CHECK(TlsContext::create({std::move(weak), chain({device, issuer_spec(1)})}).error() == Errc::kTlsFailed);
}
