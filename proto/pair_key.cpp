// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/pair_key.h"

#include <algorithm>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace connd::proto {

PairKey pair_key(const PairSecret& secret, PairDay day, const DeviceId& receiver) {
  static constexpr std::string_view kLabel = "jami-connd/1 pair key";
  std::array<std::uint8_t, kLabel.size() + 4 + DeviceId::kBytes> message{};
  auto* at = std::copy(kLabel.begin(), kLabel.end(), message.begin());
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<std::uint8_t>(day >> shift);
  std::copy(receiver.bytes.begin(), receiver.bytes.end(), at);
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), message.data(), message.size(), digest.data(),
       nullptr);
  PairKey key;
  std::copy_n(digest.begin(), PairKey::kBytes, key.bytes.begin());
  return key;
}

}  // namespace connd::proto
