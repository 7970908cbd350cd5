// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tls_context.h"

#include <string>

#include <openssl/err.h>

namespace connd::proto {
namespace {

// P-384 first: Jami's peers take it or X25519 and nothing else that OpenSSL would guess, and a wrong guess costs a
// HelloRetryRequest.
constexpr const char* kGroups = "P-384:X25519";
// TLS 1.2 serves Jami peers only, which all have these; AEAD and forward secrecy as in 1.3. AES-128 is not theirs.
constexpr const char* kTls12Ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
// 112 bits: RSA-2048 and up.
constexpr int kSecurityLevel = 2;

// RFC 7301, 3.2 has a server without a common name send no_application_protocol; Jami peers and strangers' stacks may
// offer names of their own and must get on, so an unknown name is passed over. Native framing demands TLS 1.3.
int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned int in_size, void*) {
  if (SSL_version(ssl) < TLS1_3_VERSION || !offers_native(ssl)) return SSL_TLSEXT_ERR_NOACK;
  std::string ours(1, static_cast<char>(TlsContext::kAlpn.size()));
  ours += TlsContext::kAlpn;
  unsigned char* selected = nullptr;
  const int found = SSL_select_next_proto(&selected, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                                          static_cast<unsigned int>(ours.size()), in, in_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  // `selected` points into `ours`, which ends here: answer with the constant's own bytes.
  *out = reinterpret_cast<const unsigned char*>(TlsContext::kAlpn.data());
  return SSL_TLSEXT_ERR_OK;
}

bool set_policy(SSL_CTX* context) {
  SSL_CTX_set_security_level(context, kSecurityLevel);
  SSL_CTX_set_options(
      context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(context, static_cast<long>(TlsContext::kMaxPeerChainBytes));
  SSL_CTX_set_cert_verify_callback(context, verify_tls_peer, nullptr);
  SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
  // An idle connection then keeps no record buffers, 34 KB; a busy one pays an allocation a record, which does not show
  // (2.2 GB/s in memory with and without). Reading ahead does not pay either: a BIO read is a memcpy here, no system
  // call.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
         SSL_CTX_set1_groups_list(context, kGroups) == 1 && SSL_CTX_set_cipher_list(context, kTls12Ciphers) == 1;
}

bool set_identity(SSL_CTX* context, const Identity& identity) {
  if (SSL_CTX_use_certificate(context, identity.chain.certificate(0)) != 1) return false;
  if (SSL_CTX_use_PrivateKey(context, identity.key.get()) != 1) return false;
  for (std::size_t i = 1; i < identity.chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, identity.chain.certificate(i)) != 1) return false;
  }
  return true;
}

}  // namespace

Result<TlsContext> TlsContext::create(const Identity& identity) {
  if (X509_check_private_key(identity.chain.certificate(0), identity.key.get()) != 1) {
    ERR_clear_error();
    return Errc::kKeyMismatch;
  }
  SslCtxPtr context(SSL_CTX_new(TLS_method()));
  const bool made = context && set_policy(context.get()) && set_identity(context.get(), identity);
  ERR_clear_error();
  if (!made) return Errc::kTlsFailed;
  return TlsContext(std::move(context));
}

}  // namespace connd::proto
