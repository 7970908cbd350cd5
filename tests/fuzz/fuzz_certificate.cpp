// SPDX-License-Identifier: GPL-3.0-or-later
/// A certificate chain from the DHT, in DER or PEM: what parses keeps its bytes, and can be judged.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "proto/certificate_chain.h"

using namespace connd::proto;

namespace {

// Within the validity of the corpus.
constexpr std::int64_t kNow = 1'800'000'000;

void judge(const CertificateChain& chain) {
  (void)chain.verify(kNow);
  if (chain.issuer_ids().front() != chain.account_id()) std::abort();
  if (chain.size() > CertificateChain::kMaxCertificates) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  if (const auto chain = CertificateChain::from_der(bytes)) {
    if (!std::ranges::equal(chain->der(), bytes)) std::abort();
    judge(*chain);
  }
  if (const auto chain = CertificateChain::from_pem(as_text(bytes))) {
    judge(*chain);
    if (!(CertificateChain::from_pem(chain->pem()).value() == *chain)) std::abort();
  }
  return 0;
}
