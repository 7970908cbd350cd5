// SPDX-License-Identifier: GPL-3.0-or-later
/// TlsSession: one TLS connection with a peer device, over bytes.
///
/// Ciphertext goes in by `feed`, plaintext comes out by `read`; plaintext goes in by `write`, ciphertext comes out in
/// `output()`. It knows no socket and no clock. See JAMI_WIRE "TLS" and RFC 8446.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <openssl/ssl.h>

#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"
#include "proto/openssl_ptr.h"
#include "proto/record_framer.h"
#include "proto/result.h"
#include "proto/tls_context.h"

namespace connd::proto {

enum class TlsRole { kClient, kServer };

/// Whom the session is for.
struct TlsPeer {
  DeviceId expected;             ///< the device that was dialled, or that signed the request
  bool native_demanded = false;  ///< both sides said that they are jami-connd, so ALPN must too
  std::int64_t now_unix = 0;     ///< seconds since 1970, for certificates' validity
  IsRevoked is_revoked{};        ///< asked about the peer's certificates; empty: none is revoked
  bool native_offered = true;    ///< by ALPN; off, this side looks like a Jami device
};

/// Not thread-safe; one thread at a time. Nothing calls back to the owner. The first error is final: each later call
/// returns it again. What `output()` holds then (an alert that tells the peer) should still be sent.
class TlsSession {
 public:
  /// Bytes of ciphertext that may wait to be sent. Sixteen times what one write of an app's 64 KiB makes; an owner
  /// that stops reading its apps while output waits stays far below.
  static constexpr std::size_t kMaxOutputBytes = std::size_t{1024} * 1024;
  /// Of these, what `write` leaves for alerts and key updates.
  static constexpr std::size_t kReservedOutputBytes = 4096;
  /// The largest plaintext of a record: RFC 8446, section 5.1.
  static constexpr std::size_t kMaxRecordPlaintext = 16384;
  /// What a record adds at most: both headers, the explicit nonce of TLS 1.2 (8), content type (1), tag (16).
  static constexpr std::size_t kMaxRecordOverhead =
      RecordFramer::kFrameHeaderBytes + RecordFramer::kRecordHeaderBytes + 8 + 1 + 16;
  /// RFC 8446, section 5.5: at most 2^24.5 full records may be protected with one AES-GCM key. A quarter of that
  /// costs a few bytes per 64 GiB.
  static constexpr std::uint64_t kKeyUpdateRecords = 1ULL << 22;

  /// Bytes of ciphertext that `plain_bytes` become at most.
  static constexpr std::size_t max_output_for(std::size_t plain_bytes) {
    const std::size_t records = (plain_bytes + kMaxRecordPlaintext - 1) / kMaxRecordPlaintext;
    return plain_bytes + records * kMaxRecordOverhead;
  }

  /// `key_update_records`: application records after which sending keys are changed (TLS 1.3 only).
  TlsSession(const TlsContext& context, TlsRole role, const TlsPeer& peer, Framing framing,
             std::uint64_t key_update_records = kKeyUpdateRecords);
  TlsSession(const TlsSession&) = delete;  // OpenSSL holds its address
  TlsSession& operator=(const TlsSession&) = delete;

  /// Begins: the client's first flight goes to output. Once, before all else.
  Result<void> start();

  /// Takes bytes from the peer, without RFC 4571 headers, and drives the handshake with them. The span is not copied:
  /// it must live until `read` has returned 0 or an error, which it must before the next feed. Bytes behind the
  /// peer's close_notify are ignored (RFC 8446, section 6.1).
  ///
  /// Errors: those of CertificateChain::verify and from_stack for the peer's chain, kCertificateKeyDiffers,
  /// kCertificateMissing, kCertificateRefused and kTlsAlert (the peer's verdict), kTlsNoNativeProtocol, kTlsTooOld,
  /// kTlsClosedEarly, kTooLong (output is full), kTlsFailed for all else; `error_detail` then says more.
  Result<void> feed(Bytes ciphertext);

  /// Decrypts into `out` (not empty) what fits of the records that are whole. 0: nothing more before the next feed.
  /// An error comes behind the data that was good. Errors: as feed.
  Result<std::size_t> read(MutableBytes out);

  /// Encrypts all of `plain` to output, in records as full as can be. Handshake must be done, `close` not called.
  /// Errors: kTooLong, nothing written, when output().room() is below max_output_for(plain.size()) plus
  /// kReservedOutputBytes; kTlsFailed.
  Result<void> write(Bytes plain);

  /// Sends close_notify; the peer may still send. Nothing before the handshake is done, and once only.
  Result<void> close();

  /// Ciphertext for the peer, RFC 4571 headers included where asked for; the owner consumes it from the front.
  [[nodiscard]] Buffer& output() { return output_; }
  [[nodiscard]] const Buffer& output() const { return output_; }

  [[nodiscard]] bool handshake_done() const { return handshake_done_; }
  /// ALPN has selected jami-connd's own protocol; meaningful once the handshake is done.
  [[nodiscard]] bool native() const { return native_; }
  /// close_notify was read. An end of the stream without it is truncation (kTlsTruncated), the owner's to judge.
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }
  /// The peer's verified chain, from the moment it was verified.
  [[nodiscard]] const std::optional<CertificateChain>& peer_chain() const { return peer_chain_; }
  /// E.g. "TLSv1.3" and "TLS_AES_256_GCM_SHA384"; static text.
  [[nodiscard]] std::string_view version() const { return SSL_get_version(ssl_.get()); }
  [[nodiscard]] std::string_view cipher() const { return SSL_get_cipher_name(ssl_.get()); }
  /// Fills `out` with a secret of this session that the other side can compute, and nobody else: RFC 8446, 7.5, with an
  /// empty context. False before the handshake is done, and below TLS 1.3.
  [[nodiscard]] bool export_secret(std::string_view label, MutableBytes out) const;
  /// Records of application data, each way; handshake, alerts and key updates are not counted.
  [[nodiscard]] std::uint64_t records_out() const { return records_out_; }
  [[nodiscard]] std::uint64_t records_in() const { return records_in_; }
  /// Changes of our sending keys so far.
  [[nodiscard]] std::uint64_t key_updates() const { return key_updates_; }
  /// OpenSSL's own words for the error, for logs; no secrets. Empty when there is none.
  [[nodiscard]] const std::string& error_detail() const { return error_detail_; }

 private:
  friend struct TlsSessionHooks;  // OpenSSL's callbacks, in the .cpp

  Result<void> drive_handshake();
  Result<void> finish_handshake();
  std::error_code fail(std::error_code cause);
  std::error_code cause_of_failure();
  Result<void> judge_peer(const STACK_OF(X509) * presented);
  Result<void> update_keys_when_due();

  TlsPeer peer_;
  std::uint64_t key_update_records_;
  Bytes input_;  // the caller's, see feed
  Buffer output_{kMaxOutputBytes};
  RecordFramer framer_;
  SslPtr ssl_;
  std::optional<CertificateChain> peer_chain_;
  std::error_code failure_;
  std::error_code verdict_;  // of judge_peer, until OpenSSL has come back with it
  std::string error_detail_;
  std::uint64_t records_out_ = 0;
  std::uint64_t records_in_ = 0;
  std::uint64_t key_updates_ = 0;
  std::uint64_t next_key_update_;
  bool output_full_ = false;
  bool handshake_done_ = false;
  bool native_ = false;
  bool peer_closed_ = false;
  bool closed_ = false;
};

}  // namespace connd::proto
