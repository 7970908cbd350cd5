// SPDX-License-Identifier: GPL-3.0-or-later
/// Signalling: how two daemons that are not connected reach each other. The real one is the DHT
/// (daemon/dht/dht_client.h); the interface keeps the ConnectionManager free of it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"
#include "proto/pair_key.h"
#include "proto/time.h"

namespace connd::daemon {

/// A connection request or answer as it came: signed by `signer`, decrypted, not looked into.
struct SignalMessage {
  proto::DeviceId signer;
  proto::ByteVector signer_public_key;  ///< SubjectPublicKeyInfo, DER: an answer is encrypted to it
  proto::ByteVector body;
  bool at_short_key = false;  ///< it was put under our short id: answer under the peer's short id
  bool at_pair_key = false;   ///< of the signer and us
};

/// Under which of a device's public ids a message is put.
enum class SignalKeys : std::uint8_t { kNone, kShort, kLong, kBoth };

/// Where a message goes.
struct SignalTarget {
  proto::ByteVector public_key;  ///< to which it is encrypted
  SignalKeys keys = SignalKeys::kBoth;
  std::vector<proto::PairKey> pair_keys{};  ///< and there
};

/// A stranger's chain, and what was wrong with it when it was read: everything but revocation lists, which are the
/// loop's. Made on the pool: its keys can be so long that a signature takes 4 ms.
struct CheckedChain {
  proto::CertificateChain chain;
  std::error_code fault;

  static CheckedChain of(proto::CertificateChain chain, std::int64_t now_unix) {
    const auto valid = chain.verify(now_unix);
    return {std::move(chain), valid ? std::error_code() : valid.error()};
  }
};

/// Whether a chain of the device is what the asker looks for. Anybody can make one, for anybody's key: unless it was
/// verified it is worth its public key and no more (KnownChains has the two that there are).
using ChainWanted = std::function<bool(const CheckedChain&)>;
/// What a search is for: a peer's request is decided first, and opens do not keep it from that.
enum class ChainUse : std::uint8_t { kCall, kRequest };

/// A device that was found by a 40-digit id: its account's, or its own short one. Both ids are those of the key.
struct FoundDevice {
  proto::DeviceId device;
  proto::ShortDeviceId short_id;
  proto::ByteVector public_key;  ///< SubjectPublicKeyInfo, DER
};

class Signalling {
 public:
  /// Finds certificates whose leaf has the key of `device`, whoever made them; one whose issuers cannot be read comes
  /// as the leaf alone. A Jami device may be found by its short id alone. `done` is called once, in a later turn, with
  /// the first that is `wanted`, or with nothing; never after this object's end. All others are passed over.
  virtual void find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                          proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                          std::function<void(std::optional<proto::CertificateChain>)> done) = 0;
  /// Finds the devices that an account has announced, and the one whose short id this is. `found` is called for each,
  /// and at the end, or at the deadline, once with nothing; in later turns, never after this object's end.
  virtual void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                            std::function<void(const std::optional<FoundDevice>&)> found) = 0;
  /// Puts a record that anybody may read under a name, for as long as this lives, in place of what was put there
  /// before. Its reader has to check it: anybody may put another one.
  virtual void publish(const std::string& /*name*/, proto::Bytes /*data*/) {}
  /// What is there under a name, whoever put it: `done` is called once, in a later turn, with at most a bounded number
  /// of records; never after this object's end.
  virtual void find_published(const std::string& /*name*/, proto::TimePoint /*deadline*/,
                              std::function<void(const std::vector<proto::ByteVector>&)> /*done*/) {}
  /// Sends a body to a device, encrypted to its key. Best effort: a loss shows as a missing answer.
  virtual void send(const SignalTarget& target, proto::Bytes body) = 0;
  /// From now on messages come from these keys too, and from none that were given before. What another than the peer
  /// has signed is dropped.
  virtual void listen_pairs(const std::vector<proto::PairListen>& keys) = 0;
  /// A request was just sent whose answer this peer is to give: whatever helps it to be heard.
  virtual void expect_answer(const proto::DeviceId& /*peer*/) {}
  /// False: nobody can be found or asked, for we have no network ourselves.
  [[nodiscard]] virtual bool online() const { return true; }

 protected:
  ~Signalling() = default;
};

}  // namespace connd::daemon
