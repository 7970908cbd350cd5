// SPDX-License-Identifier: GPL-3.0-or-later
/// Whom a session refuses, and with which error on both sides; and strangers that are not jami-connd.
#include <catch2/catch.hpp>

#include "tests/proto/tls_pair.h"

using namespace connd::proto;
using namespace connd::test;

namespace {

const TlsPeer kAlice{alice_chain().device_id(), true, kNow};
const TlsPeer kBob{bob_chain().device_id(), true, kNow};
TlsPeer jami(TlsPeer peer) {
  peer.native_demanded = false;
  return peer;
}

// Bob's key with a chain that `specs` describe.
TlsContext bob_with(const std::vector<Spec>& specs) {
  return *TlsContext::create(identity(3, chain(specs)));
}
TlsContext alice_with(const std::vector<Spec>& specs) {
  return *TlsContext::create(identity(0, chain(specs)));
}

struct BadChain {
  std::vector<Spec> above;  // with the device's spec first, its key being replaced
  Errc error;
};

std::vector<BadChain> bad_chains() {
  Spec expired = device_spec(0);
  expired.validity = {kNow - 2 * kDay, kNow - kDay};
  Spec future = device_spec(0);
  future.validity = {kNow + kDay, kNow + 2 * kDay};
  Spec encipher = device_spec(0);
  encipher.usage = "critical,keyEncipherment";
  Spec not_ca = issuer_spec(1);
  not_ca.constraints = "critical,CA:FALSE";
  return {{{expired, issuer_spec(1)}, Errc::kCertificateExpired},
          {{future, issuer_spec(1)}, Errc::kCertificateNotYetValid},
          {{encipher, issuer_spec(1)}, Errc::kCertificateWrongUsage},
          {{device_spec(0), not_ca}, Errc::kCertificateIssuerNotCa},
          {{device_spec(0)}, Errc::kCertificateSelfSigned}};
}

}  // namespace

TEST_CASE("a server with a bad chain is refused with its reason, and told") {
  for (BadChain bad : bad_chains()) {
    INFO(make_error_code(bad.error).message());
    bad.above[0].key = 3;
    const TlsContext server = bob_with(bad.above);
    TlsPair pair(kBob, kAlice, alice_context(), server);
    pair.connect();
    CHECK(pair.client_error == bad.error);
    CHECK_FALSE(pair.client.handshake_done());
    CHECK_FALSE(pair.client.peer_chain());
    CHECK(pair.server_error == Errc::kCertificateRefused);
  }
}

TEST_CASE("a client with a bad chain is refused with its reason, and told") {
  for (const BadChain& bad : bad_chains()) {
    INFO(make_error_code(bad.error).message());
    const TlsContext client = alice_with(bad.above);
    TlsPair pair(kBob, kAlice, client, bob_context());
    pair.connect();
    CHECK(pair.server_error == bad.error);
    CHECK_FALSE(pair.server.handshake_done());
    // In TLS 1.3 the client is done before the server has looked: its error comes by read.
    CHECK(pair.client_error == Errc::kCertificateRefused);
  }
}

TEST_CASE("a chain with a gap is refused") {
  // Bob's device and account, without the CA that signed the account.
  STACK_OF(X509)* const stack = sk_X509_new_null();
  sk_X509_push(stack, bob_chain().certificate(0));
  sk_X509_push(stack, bob_chain().certificate(1));
  const auto gap = CertificateChain::from_stack(stack);
  sk_X509_free(stack);
  const TlsContext server = *TlsContext::create(identity(3, *gap));
  TlsPair pair(kBob, kAlice, alice_context(), server);
  pair.connect();
  CHECK(pair.client_error == Errc::kCertificateIssuerMissing);
}

TEST_CASE("another device than the expected one is refused, even of the same account") {
  TlsPair wrong_server(kAlice, kAlice);
  wrong_server.connect();
  CHECK(wrong_server.client_error == Errc::kCertificateKeyDiffers);
  CHECK(wrong_server.server_error == Errc::kCertificateRefused);
  TlsPair wrong_client(kBob, kBob);
  wrong_client.connect();
  CHECK(wrong_client.server_error == Errc::kCertificateKeyDiffers);
  CHECK(wrong_client.client_error == Errc::kCertificateRefused);
}

TEST_CASE("a peer without a certificate is refused") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSession server(bob_context(), TlsRole::kServer, jami(kAlice), Framing::kNone);
    REQUIRE(server.start());
    PlainTls stranger(identity(0, alice_chain()), TlsRole::kClient,
                      {.max_version = version, .alpn = {}, .without_certificate = true});
    ByteVector plain;
    CHECK(settle(server, stranger, plain) == Errc::kCertificateMissing);
    CHECK_FALSE(server.handshake_done());
    stranger.read();
    CHECK(stranger.alert() >= 0);
  }
}

TEST_CASE("a Jami peer, with TLS 1.2 or 1.3 and no ALPN or a foreign one, is served in both roles") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const TlsRole role = GENERATE(TlsRole::kClient, TlsRole::kServer);
  // A foreign name is only ever offered to us: a server that selects what nobody offered is refused by OpenSSL.
  const std::string alpn = role == TlsRole::kServer ? GENERATE("", "\x02h2") : "";
  const bool as_client = role == TlsRole::kClient;
  TlsSession session(bob_context(), role, jami(kAlice), Framing::kNone);
  REQUIRE(session.start());
  PlainTls stranger(identity(0, alice_chain()), as_client ? TlsRole::kServer : TlsRole::kClient,
                    {.max_version = version, .alpn = alpn});
  ByteVector plain;
  REQUIRE_FALSE(settle(session, stranger, plain));
  REQUIRE(session.handshake_done());
  CHECK_FALSE(session.native());
  CHECK(session.version() == (version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3"));
  CHECK(*session.peer_chain() == alice_chain());
  CHECK(stranger.alert() == -1);

  const ByteVector data = pattern(100'000);
  REQUIRE(session.write(data));
  stranger.write(as_bytes("hello from outside"));
  REQUIRE_FALSE(settle(session, stranger, plain));
  CHECK(stranger.read() == data);
  CHECK(as_text(plain) == "hello from outside");
  CHECK(session.records_out() == 7);
  CHECK(session.records_in() == 1);
  REQUIRE(session.close());
  stranger.shutdown();
  CHECK_FALSE(settle(session, stranger, plain));
  CHECK(session.peer_closed());
}

TEST_CASE("fault F: both being jami-connd, no ALPN or an old TLS is an error of its own, not the other dialect") {
  struct Case {
    int version;
    const char* alpn;
  };
  const auto [version, alpn] =
      GENERATE(Case{TLS1_3_VERSION, ""}, Case{TLS1_2_VERSION, ""}, Case{TLS1_2_VERSION, "\x0cjami-connd/1"});
  const TlsRole role = GENERATE(TlsRole::kClient, TlsRole::kServer);
  TlsSession session(bob_context(), role, kAlice, Framing::kNone);
  REQUIRE(session.start());
  PlainTls stranger(identity(0, alice_chain()), role == TlsRole::kClient ? TlsRole::kServer : TlsRole::kClient,
                    {.max_version = version, .alpn = alpn});
  ByteVector plain;
  CHECK(settle(session, stranger, plain) ==
        (version == TLS1_2_VERSION ? Errc::kTlsTooOld : Errc::kTlsNoNativeProtocol));
  CHECK(session.error_detail() == session.feed({}).error().message());
  stranger.read();
  CHECK((SSL_get_shutdown(stranger.ssl()) & SSL_RECEIVED_SHUTDOWN) != 0);  // told by close_notify
}

TEST_CASE("a server that selects our ALPN below TLS 1.3 is refused even where native is not demanded") {
  TlsSession client(bob_context(), TlsRole::kClient, jami(kAlice), Framing::kNone);
  REQUIRE(client.start());
  PlainTls stranger(identity(0, alice_chain()), TlsRole::kServer,
                    {.max_version = TLS1_2_VERSION, .alpn = "\x0cjami-connd/1"});
  ByteVector plain;
  CHECK(settle(client, stranger, plain) == Errc::kTlsTooOld);
}

TEST_CASE("TLS 1.1 is refused, and the peer is told") {
  TlsSession server(bob_context(), TlsRole::kServer, jami(kAlice), Framing::kNone);
  REQUIRE(server.start());
  PlainTls old(identity(0, alice_chain()), TlsRole::kClient, {.max_version = TLS1_2_VERSION});
  ByteVector hello = old.take_output();
  REQUIRE(hello.size() > 11);
  hello[10] = 2;  // client_version 3.2: RFC 5246, 7.4.1.2
  ByteVector plain;
  CHECK(deliver(server, hello, plain, cut_all()) == Errc::kTlsTooOld);
  CHECK(server.error_detail() == make_error_code(Errc::kTlsTooOld).message());  // one sentence, once
  old.feed(take(server));
  CHECK(old.alert() == SSL_AD_PROTOCOL_VERSION);
}

TEST_CASE("a peer that asks for key updates is served, and without end stopped at the bound of output") {
  TlsSession server(bob_context(), TlsRole::kServer, jami(kAlice), Framing::kNone);
  REQUIRE(server.start());
  PlainTls stranger(identity(0, alice_chain()), TlsRole::kClient, {.max_version = TLS1_3_VERSION});
  ByteVector plain;
  REQUIRE_FALSE(settle(server, stranger, plain));
  REQUIRE(server.handshake_done());
  std::error_code error;
  std::size_t asked = 0;
  while (!error && asked < 60'000) {
    REQUIRE(SSL_key_update(stranger.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
    stranger.write(as_bytes("x"));
    error = deliver(server, stranger.take_output(), plain, cut_all());
    if (++asked == 20) {
      CHECK(server.records_in() == 20);
      REQUIRE(server.write(as_bytes("y")));
      CHECK(server.records_out() == 1);
      stranger.feed(take(server));
      CHECK(stranger.read().size() == 1);
    }
  }
  CHECK(error == Errc::kTooLong);
  CHECK(server.output().size() <= TlsSession::kMaxOutputBytes);
}

TEST_CASE("renegotiation is refused with an alert") {
  TlsSession server(bob_context(), TlsRole::kServer, jami(kAlice), Framing::kNone);
  REQUIRE(server.start());
  PlainTls stranger(identity(0, alice_chain()), TlsRole::kClient, {.max_version = TLS1_2_VERSION});
  ByteVector plain;
  REQUIRE_FALSE(settle(server, stranger, plain));
  REQUIRE(server.handshake_done());
  SSL_renegotiate(stranger.ssl());
  SSL_do_handshake(stranger.ssl());
  // This stranger takes the refusal for fatal and says so; others go on.
  CHECK(settle(server, stranger, plain) == Errc::kTlsAlert);
  CHECK(stranger.alert() == SSL_AD_NO_RENEGOTIATION);
}
