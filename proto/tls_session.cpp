// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tls_session.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <openssl/err.h>

namespace connd::proto {

/// OpenSSL's way back into a session. The session's address is the BIO's data and the SSL's app data.
struct TlsSessionHooks {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* out, std::size_t size, std::size_t* taken) {
    Bytes& input = session(bio).input_;
    BIO_clear_retry_flags(bio);
    *taken = std::min(size, input.size());
    if (*taken == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    std::memcpy(out, input.data(), *taken);
    input = input.subspan(*taken);
    return 1;
  }

  static int write(BIO* bio, const char* in, std::size_t size, std::size_t* written) {
    TlsSession& self = session(bio);
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (self.output_full_ || !self.framer_.append({reinterpret_cast<const std::uint8_t*>(in), size})) {
      self.output_full_ = true;
      return 0;
    }
    *written = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  static BioMethodPtr make_method() {
    BioMethodPtr method(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connd session"));
    BIO_meth_set_read_ex(method.get(), read);
    BIO_meth_set_write_ex(method.get(), write);
    BIO_meth_set_ctrl(method.get(), control);
    BIO_meth_set_create(method.get(), create);
    return method;
  }

  static BIO* make_bio(TlsSession* self) {
    static const BioMethodPtr method = make_method();  // never changed once made
    BIO* const bio = BIO_new(method.get());
    BIO_set_data(bio, self);
    return bio;
  }

  // OpenSSL turns the X.509 error into the alert that the peer gets.
  static int x509_error_for(std::error_code verdict) {
    if (verdict == Errc::kCertificateExpired) return X509_V_ERR_CERT_HAS_EXPIRED;
    if (verdict == Errc::kCertificateNotYetValid) return X509_V_ERR_CERT_NOT_YET_VALID;
    if (verdict == Errc::kCertificateChainBroken) return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
    if (verdict == Errc::kCertificateIssuerMissing) return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
    if (verdict == Errc::kCertificateIssuerNotCa) return X509_V_ERR_INVALID_CA;
    if (verdict == Errc::kCertificateWrongUsage) return X509_V_ERR_INVALID_PURPOSE;
    if (verdict == Errc::kCertificateRevoked) return X509_V_ERR_CERT_REVOKED;
    if (verdict == Errc::kCertificateTooWeak) return X509_V_ERR_EE_KEY_TOO_SMALL;
    if (verdict == Errc::kCertificateSelfSigned) return X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    return X509_V_ERR_CERT_REJECTED;
  }

  static int verify(X509_STORE_CTX* store) {
    auto* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto& self = *static_cast<TlsSession*>(SSL_get_app_data(ssl));
    const auto verdict = self.judge_peer(X509_STORE_CTX_get0_untrusted(store));
    X509_STORE_CTX_set_error(store, verdict ? X509_V_OK : x509_error_for(verdict.error()));
    return verdict ? 1 : 0;
  }

  static bool offers_native(SSL* ssl) { return static_cast<TlsSession*>(SSL_get_app_data(ssl))->peer_.native_offered; }

  // Called per record: with its header, and in TLS 1.3, where all records look like application data, with the true
  // type as well.
  static void count(int is_out, int version, int type, const void* bytes, std::size_t size, SSL* ssl, void* self) {
    (void)version;
    const int telling = SSL_version(ssl) >= TLS1_3_VERSION ? SSL3_RT_INNER_CONTENT_TYPE : SSL3_RT_HEADER;
    if (type != telling || size == 0) return;
    if (*static_cast<const std::uint8_t*>(bytes) != SSL3_RT_APPLICATION_DATA) return;
    auto& session = *static_cast<TlsSession*>(self);
    ++(is_out != 0 ? session.records_out_ : session.records_in_);
  }
};

namespace {

bool is_certificate_alert(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool offers_native(SSL* ssl) {
  return TlsSessionHooks::offers_native(ssl);
}

int verify_tls_peer(X509_STORE_CTX* store, void*) {
  return TlsSessionHooks::verify(store);
}

TlsSession::TlsSession(const TlsContext& context, TlsRole role, const TlsPeer& peer, Framing framing,
                       std::uint64_t key_update_records)
    : peer_(peer),
      key_update_records_(key_update_records),
      framer_(output_, framing),
      ssl_(SSL_new(context.get())),
      next_key_update_(key_update_records) {
  SSL* const ssl = ssl_.get();
  BIO* const bio = TlsSessionHooks::make_bio(this);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, this);
  SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_set_msg_callback(ssl, TlsSessionHooks::count);
  SSL_set_msg_callback_arg(ssl, this);
  if (role == TlsRole::kServer) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  if (!peer.native_offered) return;
  ByteVector offer{static_cast<std::uint8_t>(TlsContext::kAlpn.size())};
  offer.insert(offer.end(), TlsContext::kAlpn.begin(), TlsContext::kAlpn.end());
  SSL_set_alpn_protos(ssl, offer.data(), static_cast<unsigned int>(offer.size()));
}

Result<void> TlsSession::start() {
  return drive_handshake();
}

Result<void> TlsSession::feed(Bytes ciphertext) {
  if (failure_) return failure_;
  assert(input_.empty());
  if (peer_closed_) return {};
  input_ = ciphertext;
  return handshake_done_ ? Result<void>{} : drive_handshake();
}

Result<void> TlsSession::drive_handshake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) return finish_handshake();
  switch (SSL_get_error(ssl_.get(), done)) {
    case SSL_ERROR_WANT_READ:
      return {};
    case SSL_ERROR_ZERO_RETURN:
      peer_closed_ = true;
      return fail(Errc::kTlsClosedEarly);
    default:
      return fail(cause_of_failure());
  }
}

Result<void> TlsSession::finish_handshake() {
  handshake_done_ = true;
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  const bool selected = as_text({name, size}) == TlsContext::kAlpn;
  const bool modern = SSL_version(ssl_.get()) >= TLS1_3_VERSION;
  native_ = selected && modern;
  // SPEC 4.6: neither a missing ALPN nor an older TLS is a reason to fall back to the other dialect.
  if (native_ || (!selected && !peer_.native_demanded)) return {};
  (void)close();  // The peer should learn of it; that it cannot be told changes nothing.
  return fail(modern ? Errc::kTlsNoNativeProtocol : Errc::kTlsTooOld);
}

bool TlsSession::export_secret(std::string_view label, MutableBytes out) const {
  if (!handshake_done_ || SSL_version(ssl_.get()) < TLS1_3_VERSION) return false;
  const bool done =
      SSL_export_keying_material(ssl_.get(), out.data(), out.size(), label.data(), label.size(), nullptr, 0, 0) == 1;
  ERR_clear_error();
  return done;
}

Result<void> TlsSession::judge_peer(const STACK_OF(X509) * presented) {
  auto chain = CertificateChain::from_stack(presented);
  std::error_code verdict = chain.error();
  if (!verdict && chain->device_id() != peer_.expected) verdict = Errc::kCertificateKeyDiffers;
  if (!verdict) verdict = chain->verify(peer_.now_unix, peer_.is_revoked).error();
  if (verdict) {
    verdict_ = verdict;
    return verdict;
  }
  peer_chain_ = *std::move(chain);
  return {};
}

Result<std::size_t> TlsSession::read(MutableBytes out) {
  assert(!out.empty());
  if (failure_) return failure_;
  if (!handshake_done_ || peer_closed_) return std::size_t{0};
  ERR_clear_error();
  std::size_t total = 0;
  while (total < out.size()) {
    std::size_t got = 0;
    if (SSL_read_ex(ssl_.get(), out.data() + total, out.size() - total, &got) == 1) {
      total += got;
      continue;
    }
    const int why = SSL_get_error(ssl_.get(), 0);
    if (why == SSL_ERROR_WANT_READ) break;
    if (why == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
      input_ = {};
      break;
    }
    const std::error_code cause = fail(cause_of_failure());
    if (total == 0) return cause;
    break;
  }
  return total;
}

Result<void> TlsSession::write(Bytes plain) {
  if (failure_) return failure_;
  assert(handshake_done_ && !closed_);
  if (plain.empty()) return {};
  if (output_.room() < max_output_for(plain.size()) + kReservedOutputBytes) return Errc::kTooLong;
  ERR_clear_error();
  if (auto r = update_keys_when_due(); !r) return r;
  std::size_t written = 0;
  // All or nothing: partial writes are off, and there is room.
  if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) != 1) return fail(cause_of_failure());
  assert(written == plain.size());
  return {};
}

Result<void> TlsSession::update_keys_when_due() {
  if (records_out_ < next_key_update_ || SSL_version(ssl_.get()) < TLS1_3_VERSION) return {};
  // It goes out before the next record. Not "requested": the peer minds its own limits.
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) return fail(cause_of_failure());
  next_key_update_ = records_out_ + key_update_records_;
  ++key_updates_;
  return {};
}

Result<void> TlsSession::close() {
  if (failure_) return failure_;
  if (closed_ || !handshake_done_) return {};
  closed_ = true;
  ERR_clear_error();
  // 0: sent, the peer's not yet seen; 1: both.
  if (SSL_shutdown(ssl_.get()) < 0) return fail(cause_of_failure());
  return {};
}

std::error_code TlsSession::fail(std::error_code cause) {
  failure_ = cause;
  input_ = {};
  if (error_detail_.empty()) error_detail_ = cause.message();
  ERR_clear_error();
  return cause;
}

std::error_code TlsSession::cause_of_failure() {
  const unsigned long error = ERR_peek_error();
  if (error != 0) {
    // Without the numbers and the library's names around it, where there is a word for it.
    char text[256];
    ERR_error_string_n(error, text, sizeof text);
    const char* const word = ERR_reason_error_string(error);
    error_detail_ = word != nullptr ? word : text;
  }
  if (verdict_) {
    error_detail_.clear();  // "certificate verify failed"
    return verdict_;
  }
  if (output_full_) return Errc::kTooLong;
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return Errc::kTlsFailed;
  const int reason = ERR_GET_REASON(error);
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return Errc::kCertificateMissing;
  if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW) {
    error_detail_.clear();  // it says the same
    return Errc::kTlsTooOld;
  }
  const int alert = reason - SSL_AD_REASON_OFFSET;
  if (alert < 0 || alert > 255) return Errc::kTlsFailed;
  return is_certificate_alert(alert) ? Errc::kCertificateRefused : Errc::kTlsAlert;
}

}  // namespace connd::proto
