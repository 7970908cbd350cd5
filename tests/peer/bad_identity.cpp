// SPDX-License-Identifier: GPL-3.0-or-later
/// bad_identity KIND DIR: makes DIR a state directory whose certificate chain is of that kind: good, expired,
/// not-yet-valid, self-signed, broken-chain, issuer-not-ca, wrong-usage; and DIR/good one with the same key and a good
/// chain. Prints the device id.
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "tests/proto/certificates.h"

namespace {

using namespace connd;
using namespace connd::test;

proto::CertificateChain chain_of(const std::string& kind, std::int64_t now) {
  const proto::Validity valid{now - kDay, now + kDay};
  Spec device = device_spec(0);
  Spec account = issuer_spec(1);
  Spec ca = issuer_spec(2);
  for (Spec* spec : {&device, &account, &ca}) spec->validity = valid;
  if (kind == "expired") device.validity = {now - 2 * kDay, now - kDay};
  if (kind == "not-yet-valid") device.validity = {now + kDay, now + 2 * kDay};
  if (kind == "wrong-usage") device.usage = "critical,keyEncipherment";
  if (kind == "issuer-not-ca") account.constraints = "critical,CA:FALSE";
  if (kind == "self-signed") return chain({device});
  const proto::CertificateChain whole = chain({device, account, ca});
  if (kind != "broken-chain") return whole;
  // The device's certificate below an account that did not sign it.
  Spec other = issuer_spec(3);
  other.validity = valid;
  proto::ByteVector leaf = whole.der();
  leaf.resize(static_cast<std::size_t>(i2d_X509(whole.certificate(0), nullptr)));
  return joined({leaf, chain({other, ca}).der()});
}

void write(const std::filesystem::path& state, const proto::CertificateChain& made) {
  std::filesystem::create_directories(state / "identity");
  std::ofstream(state / "identity" / "chain.pem") << made.pem();
  std::ofstream(state / "identity" / "device.key") << key_pem(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bad_identity KIND DIR\n");
    return 2;
  }
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  const std::filesystem::path state = argv[2];
  write(state, chain_of(argv[1], now));
  write(state / "good", chain_of("good", now));
  std::printf("%s\n", chain_of(argv[1], now).device_id().hex().c_str());
  return 0;
}
