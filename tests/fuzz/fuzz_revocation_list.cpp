// SPDX-License-Identifier: GPL-3.0-or-later
/// A revocation list, in DER or PEM, alone or behind a chain (two bytes say how long that is) whose certificates it is
/// asked about: what parses keeps its bytes, and answers.
#include <algorithm>
#include <cstdint>

#include "proto/certificate_chain.h"
#include "proto/revocation_list.h"
#include "tests/fuzz/check.h"

using namespace connd::proto;

namespace {

void ask(const RevocationList& list, const CertificateChain* chain) {
  FUZZ_CHECK(!list.id().empty());
  (void)list.issuer();
  (void)list.size();
  if (chain == nullptr) return;
  for (std::size_t i = 0; i + 1 < chain->size(); ++i) {
    (void)list.revokes(*chain->certificate(i), *chain->certificate(i + 1));
  }
  (void)chain->has_revoked(
      [&](const X509& certificate, const X509& issuer) { return list.revokes(certificate, issuer); });
}

void read(Bytes bytes, const CertificateChain* chain) {
  if (const auto list = RevocationList::from_der(bytes)) {
    FUZZ_CHECK(std::ranges::equal(list->der(), bytes));
    ask(*list, chain);
  }
  if (const auto list = RevocationList::from_pem(as_text(bytes))) {
    ask(*list, chain);
    FUZZ_CHECK(RevocationList::from_der(list->der()).value().id() == list->id());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  read(bytes, nullptr);
  if (size < 2) return 0;
  const Bytes rest = bytes.subspan(2);
  const std::size_t length = std::min<std::size_t>(load_u16(data), rest.size());
  if (const auto chain = CertificateChain::from_der(rest.first(length))) read(rest.subspan(length), &*chain);
  return 0;
}
