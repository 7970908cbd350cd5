// SPDX-License-Identifier: GPL-3.0-or-later
/// What people carry from one device to another: a request for a certificate, a chain and a key, and the account's keys
/// under a passphrase. (The inputs of the corpus begin with text that is passed over: so long ones a build without
/// libFuzzer does not vary, which would take minutes of keys.)
#include <cstdint>
#include <string_view>

#include "proto/certificate_request.h"
#include "proto/identity.h"
#include "tests/fuzz/check.h"

using namespace connd::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text({data, size});
  if (const auto key = key_of_certificate_request(text)) FUZZ_CHECK(!key->empty());
  if (const auto key = public_key_der_from(text)) FUZZ_CHECK(!key->empty());
  if (const auto identity = Identity::load(text, text)) FUZZ_CHECK(identity->chain.size() > 0);
  if (has_encrypted_key(text)) (void)decrypt_private_keys(text, "passphrase");
  return 0;
}
