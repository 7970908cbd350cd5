// SPDX-License-Identifier: GPL-3.0-or-later
/// Pair keys: places on the DHT that only two devices know, for requests of one to the other (PROTOCOL.md 4.1).
///
/// Both export a secret from each TLS session that they have with each other. A key is made of it for each day and
/// direction; whoever sees the key, as a storage node does, learns neither the secret nor the next day's key.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "proto/device_id.h"

namespace connd::proto {

/// What two devices have exported from a TLS session of theirs. Secret: in no log, and on disk for its owner alone.
using PairSecret = std::array<std::uint8_t, 32>;

/// The label of the exporter (RFC 5705, 4: those for private use begin so); the context is empty.
inline constexpr std::string_view kPairExporterLabel = "EXPERIMENTAL jami-connd pair";

/// A key of the DHT.
using PairKey = KeyId<20, struct PairKeyTag>;

/// Where a peer, and nobody else that we know of, puts messages for us.
struct PairListen {
  PairKey key;
  DeviceId peer;
  friend bool operator==(const PairListen&, const PairListen&) = default;
};

/// Days of UTC since 1970.
using PairDay = std::uint32_t;
inline constexpr std::int64_t kSecondsPerDay = 86'400;
inline constexpr PairDay pair_day_of(std::int64_t unix_time) {
  return unix_time < 0 ? 0 : static_cast<PairDay>(unix_time / kSecondsPerDay);
}

/// Where the other of the two puts what is for `receiver` on that day: the first 20 bytes of HMAC-SHA256, by the
/// secret, of the label `jami-connd/1 pair key`, the day (32 bits, big-endian), and the receiver's device id.
PairKey pair_key(const PairSecret& secret, PairDay day, const DeviceId& receiver);

}  // namespace connd::proto
