// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionRequest: what two devices send each other over the DHT to begin a connection, request and answer alike.
///
/// On the wire it is a msgpack map `{id, ice_msg, isAnswer, connType}` (JAMI_WIRE); ours have one more key,
/// `jc: {v: 1}`, which Jami's peers pass over, and requests to those who may not have our chain one with that. Who
/// signed and encrypted it is the DHT's part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/ice_description.h"
#include "proto/result.h"

namespace connd::proto {

/// What a device tells itself, to hear of another daemon that has its keys.
struct SelfNote {
  std::uint64_t number;  ///< of the daemon that sends it, while it runs; 1 to ConnectionRequest::kMaxId
  std::uint64_t seen;    ///< the other one's, which this answers; 0: it answers none
  friend bool operator==(const SelfNote&, const SelfNote&) = default;
};

/// A value.
struct ConnectionRequest {
  /// Ids are 1 to 2^53, so that a double holds them exactly.
  static constexpr std::uint64_t kMaxId = 1ULL << 53;
  /// The connection type is a word, mostly empty.
  static constexpr std::size_t kMaxConnectionTypeBytes = 256;
  /// The version of jami-connd's own protocol.
  static constexpr unsigned kNativeVersion = 1;
  /// A chain of three certificates of RSA-4096 takes some 4.5 kB. More is not worth what the DHT takes it in: parts, of
  /// which none may be lost.
  static constexpr std::size_t kMaxChainBytes = 6 * 1024;
  /// The ICE text, the other members, and room for keys that we do not know.
  static constexpr std::size_t kMaxEncodedBytes = IceDescription::kMaxTextBytes + kMaxChainBytes + 4096;

  std::uint64_t id = 0;
  std::string ice_text;  ///< see IceDescription
  bool is_answer = false;
  std::string connection_type;
  std::optional<unsigned> native_version;  ///< the sender is a jami-connd of that version
  /// The sender's certificates in DER, its own first; empty: not sent. Not looked into.
  ByteVector chain{};
  /// From the device to itself; then `ice_text` is empty, and nothing is asked for.
  std::optional<SelfNote> self{};

  /// The encoded map. Ours to keep within limits: asserted.
  [[nodiscard]] ByteVector encode() const;
  /// Unknown keys are passed over; `connType`, `jc`, `jc-chain` and `jc-self` may be missing. Errors: kTooLong (above
  /// kMaxEncodedBytes, or a text above its bound), kBadConnectionRequest (not one whole map, a key missing, twice or of
  /// the wrong type, an id out of range, nesting above 8).
  static Result<ConnectionRequest> decode(Bytes encoded);

  friend bool operator==(const ConnectionRequest&, const ConnectionRequest&) = default;
};

}  // namespace connd::proto
