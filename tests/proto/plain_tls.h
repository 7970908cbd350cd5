// SPDX-License-Identifier: GPL-3.0-or-later
/// PlainTls: a TLS endpoint straight from OpenSSL, sharing no code with proto/'s: the stranger in tests.
#pragma once

#include <optional>
#include <string>

#include "proto/identity.h"
#include "proto/tls_session.h"

namespace connd::test {

struct PlainTlsOptions {
  int max_version = TLS1_3_VERSION;
  std::string alpn = {};  ///< in wire form, e.g. "\x02h2"; empty offers and selects none
  bool without_certificate = false;
};

/// Accepts any peer certificate. Bytes in and out as strings of octets, no framing.
class PlainTls {
 public:
  PlainTls(const proto::Identity& identity, proto::TlsRole role, const PlainTlsOptions& options = {});

  void feed(proto::Bytes bytes);
  proto::ByteVector take_output();
  /// All plaintext that has come; empty when none.
  proto::ByteVector read();
  void write(proto::Bytes plain);
  void shutdown();
  /// The alert that the peer has sent, or -1.
  [[nodiscard]] int alert() const { return alert_; }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }

 private:
  static void on_info(const SSL* ssl, int where, int value);
  std::string alpn_;
  proto::SslCtxPtr context_;
  proto::SslPtr ssl_;
  int alert_ = -1;
};

}  // namespace connd::test
