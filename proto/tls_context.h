// SPDX-License-Identifier: GPL-3.0-or-later
/// TlsContext: what all TLS sessions of one identity share - certificate, key, and the policy of SPEC section 4.6.
#pragma once

#include <cstddef>
#include <string_view>

#include "proto/identity.h"
#include "proto/openssl_ptr.h"
#include "proto/result.h"

namespace connd::proto {

/// OpenSSL's question whether the peer's chain will do, which it knows to ask of a whole context only; answered by the
/// TlsSession that the SSL belongs to (tls_session.cpp).
int verify_tls_peer(X509_STORE_CTX* store, void* unused);
/// Whether that session may select our own protocol.
bool offers_native(SSL* ssl);

/// Made once per identity, by any thread; sessions of any thread may use it, and may outlive it.
class TlsContext {
 public:
  /// The ALPN name (RFC 7301) by which two jami-connd know each other. It binds the framing to the handshake.
  static constexpr std::string_view kAlpn = "jami-connd/1";
  /// Bound of a peer's Certificate message; its chain is bounded further by CertificateChain.
  static constexpr std::size_t kMaxPeerChainBytes = std::size_t{64} * 1024;

  /// TLS 1.2 to 1.3, ECDHE on P-384 or X25519, AEAD ciphers, certificates of both sides demanded; no tickets, no
  /// resumption, no compression, no renegotiation. The whole chain is presented, in its order and byte for byte.
  /// Errors: kKeyMismatch, and kTlsFailed when OpenSSL refuses the identity (a key below 112 bits of security).
  static Result<TlsContext> create(const Identity& identity);

  /// For TlsSession alone: an SSL made from it must have its TlsSession as app data.
  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

 private:
  explicit TlsContext(SslCtxPtr context) : context_(std::move(context)) {}
  SslCtxPtr context_;
};

}  // namespace connd::proto
