// SPDX-License-Identifier: GPL-3.0-or-later
/// Signalling: how two daemons that are not connected reach each other. The real one is the DHT (daemon/dht_client.h);
/// the interface keeps the ConnectionManager free of it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"
#include "proto/time.h"

namespace connd::daemon {

/// A connection request or answer as it came: signed by `signer`, decrypted, not looked into.
struct SignalMessage {
  proto::DeviceId signer;
  proto::ByteVector signer_public_key;  ///< SubjectPublicKeyInfo, DER: an answer is encrypted to it
  proto::ByteVector body;
  bool at_short_key = false;
};

/// Under which of a device's ids a message is put.
enum class SignalKeys : std::uint8_t { kShort, kLong, kBoth };

/// How much a chain tells the asker. A device may have more than one: it changed its account, or somebody else has
/// certified its key.
enum class ChainWorth : std::uint8_t {
  kLittle,
  kMore,    ///< the answer, unless one that is enough comes
  kEnough,  ///< no need to look further
};
using ChainJudge = std::function<ChainWorth(const proto::CertificateChain&)>;

/// A device that was found by a 40-digit id: its account's, or its own short one.
struct FoundDevice {
  proto::DeviceId device;
  proto::ShortDeviceId short_id;
  std::optional<proto::CertificateChain> chain;  ///< if it came with it; not verified
};

class Signalling {
 public:
  /// Finds the chain of a device; not verified beyond the id. A Jami device may be found by its short id alone. The
  /// first that is enough for `judge` (empty: any is); else, once all places were looked at, the one of most worth.
  /// `done` is called once, in a later turn; never after this object's end.
  virtual void find_certificate(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                                proto::TimePoint deadline, ChainJudge judge,
                                std::function<void(std::optional<proto::CertificateChain>)> done) = 0;
  /// Finds the devices that an account has announced, and the one whose short id this is. `found` is called for each,
  /// and at the end, or at the deadline, once with nothing; in later turns, never after this object's end.
  virtual void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                            std::function<void(const std::optional<FoundDevice>&)> found) = 0;
  /// Sends a body to a device, encrypted to its key. Best effort: a loss shows as a missing answer.
  virtual void send(const proto::ByteVector& public_key, proto::Bytes body, SignalKeys keys) = 0;

 protected:
  ~Signalling() = default;
};

}  // namespace connd::daemon
