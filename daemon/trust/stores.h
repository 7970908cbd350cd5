// SPDX-License-Identifier: GPL-3.0-or-later
/// Stores: what the daemon keeps on disk beside its identity. All that is asked of them is answered from memory. What
/// changes is in force at once, and is written by a StateDisk; RequestLog and PairStore are caches with savers of their
/// own.
#pragma once

#include "daemon/trust/alias_store.h"
#include "daemon/trust/certificate_store.h"
#include "daemon/trust/crl_store.h"
#include "daemon/trust/pair_store.h"
#include "daemon/trust/request_log.h"
#include "daemon/trust/trust_store.h"

namespace connd::daemon {

struct Stores {
  /// Those of a state directory, which has to exist; empty ones where it has none. Failures: of any of them.
  static Outcome<Stores> open(const std::string& directory);

  /// Who is to write from now on; both stay where they are. `taken_back`: trust or revocations that could not be
  /// written are not in force any more.
  void use(StateDisk& disk, const std::function<void()>& taken_back);
  /// Calls `done` once what has changed of trust, and what was met first, is on the disk, maybe at once; or was not
  /// taken.
  void when_trust_stored(StateDisk::Done done);

  TrustStore trust;
  AliasStore aliases;
  RequestLog requests;
  CertificateStore certificates;
  CertificateStore issued;  ///< chains that this device has made for others of its account
  /// Of devices with an entry: the last chain of the account that each had when it was met first.
  CertificateStore first_met;
  /// Of accounts that have lists among `crls`: the account's certificate and what is above it, by its key.
  CertificateStore revokers;
  CrlStore crls;
  PairStore pairs;

  /// For CertificateChain::verify; holds a reference to this.
  [[nodiscard]] proto::IsRevoked is_revoked() const {
    return [this](const X509& certificate, const X509& issuer) { return crls.is_revoked(certificate, issuer); };
  }
};

}  // namespace connd::daemon
