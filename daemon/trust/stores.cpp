// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/stores.h"

namespace connd::daemon {

Outcome<Stores> Stores::open(const std::string& directory) {
  auto trust = TrustStore::open(directory + "/trust.json");
  if (!trust) return trust.failure();
  auto aliases = AliasStore::open(directory + "/aliases.json");
  if (!aliases) return aliases.failure();
  auto requests = RequestLog::open(directory + "/requests");
  if (!requests) return requests.failure();
  auto certificates = CertificateStore::open(directory + "/certificates");
  if (!certificates) return certificates.failure();
  auto issued = CertificateStore::open(directory + "/issued");
  if (!issued) return issued.failure();
  auto first_met = CertificateStore::open(directory + "/first-met");
  if (!first_met) return first_met.failure();
  auto revokers = CertificateStore::open(directory + "/revokers", CrlStore::kMaxLists);
  if (!revokers) return revokers.failure();
  auto crls = CrlStore::open(directory + "/crls");
  if (!crls) return crls.failure();
  auto pairs = PairStore::open(directory + "/pairs");
  if (!pairs) return pairs.failure();
  return Stores{std::move(*trust),        std::move(*aliases), std::move(*requests),
                std::move(*certificates), std::move(*issued),  std::move(*first_met),
                std::move(*revokers),     std::move(*crls),    std::move(*pairs)};
}

void Stores::use(StateDisk& disk, const std::function<void()>& taken_back) {
  trust.use(disk, taken_back);
  aliases.use(disk);
  crls.use(disk, taken_back);
  for (CertificateStore* store : {&certificates, &issued, &first_met, &revokers}) store->use(disk);
}

void Stores::when_trust_stored(StateDisk::Done done) {
  trust.when_stored([this, done = std::move(done)](const Outcome<void>& outcome) {
    if (!outcome) return done(outcome);
    first_met.when_stored(done);
  });
}

}  // namespace connd::daemon
