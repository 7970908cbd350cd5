// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/proto/plain_tls.h"

#include <array>

#include <openssl/err.h>

namespace connd::test {

using namespace connd::proto;

namespace {

int select_first(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned int,
                 void*) {
  *out = in + 1;
  *out_size = in[0];
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

PlainTls::PlainTls(const Identity& identity, TlsRole role, const PlainTlsOptions& options) : alpn_(options.alpn) {
  context_.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  if (!options.without_certificate) {
    SSL_CTX_use_certificate(context_.get(), identity.chain.certificate(0));
    SSL_CTX_use_PrivateKey(context_.get(), identity.key.get());
    for (std::size_t i = 1; i < identity.chain.size(); ++i) {
      SSL_CTX_add1_chain_cert(context_.get(), identity.chain.certificate(i));
    }
  }
  if (!alpn_.empty() && role == TlsRole::kServer) SSL_CTX_set_alpn_select_cb(context_.get(), select_first, nullptr);
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_info_callback(ssl_.get(), on_info);
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  if (role == TlsRole::kServer) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  if (!alpn_.empty()) {
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(alpn_.data()),
                        static_cast<unsigned int>(alpn_.size()));
  }
  SSL_do_handshake(ssl_.get());
}

void PlainTls::on_info(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
    static_cast<PlainTls*>(SSL_get_app_data(ssl))->alert_ = value & 0xff;
}

void PlainTls::feed(Bytes bytes) {
  BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  ERR_clear_error();
  if (SSL_is_init_finished(ssl_.get()) == 0) SSL_do_handshake(ssl_.get());
  ERR_clear_error();
}

ByteVector PlainTls::take_output() {
  char* data = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(ssl_.get()), &data);
  ByteVector out(data, data + size);
  (void)BIO_reset(SSL_get_wbio(ssl_.get()));
  return out;
}

ByteVector PlainTls::read() {
  ByteVector out;
  std::array<std::uint8_t, 16384> chunk;
  std::size_t got = 0;
  ERR_clear_error();
  while (SSL_read_ex(ssl_.get(), chunk.data(), chunk.size(), &got) == 1)
    out.insert(out.end(), chunk.data(), chunk.data() + got);
  ERR_clear_error();
  return out;
}

void PlainTls::write(Bytes plain) {
  std::size_t written = 0;
  SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written);
}

void PlainTls::shutdown() {
  SSL_shutdown(ssl_.get());
}

}  // namespace connd::test
