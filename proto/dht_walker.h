// SPDX-License-Identifier: GPL-3.0-or-later
/// The walker: looks at one datagram of the DHT, whole, before OpenDHT does, and says whether it is in the grammar that
/// OpenDHT takes for granted (DHT_GATE.md).
///
/// Never reads out of its input, recurses never, and allocates only for what it reports, which is bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_fault.h"
#include "proto/dht_limits.h"

namespace connd::proto {

/// What OpenDHT takes a message for.
enum class DhtKind : std::uint8_t {
  kError,
  kReply,
  kValueData,  ///< parts of the values of another message
  kUpdate,     ///< of a listen, in the old form that is no request
  kPing,
  kFind,
  kGet,
  kListen,
  kPut,
  kRefresh,
  kUpdateRequest,  ///< of a listen, as a request that wants an answer
};

/// Where something is in the datagram.
struct DhtSpan {
  std::size_t offset = 0;
  std::size_t length = 0;
};
/// An element of `values` that says how long the value is; its parts follow in datagrams of their own.
struct DhtSizedValue {
  std::uint32_t index = 0;  ///< in `values`, by which the parts name it
  std::uint32_t size = 0;   ///< 1 to kMaxDhtValue
  DhtSpan at;
};
/// A part of a value.
struct DhtPart {
  std::uint32_t index = 0;
  std::uint32_t offset = 0;
  Bytes bytes;  ///< points into the datagram
};

/// What the gate has to know of a value.
struct DhtValueInfo {
  std::uint64_t id = 0;
  bool owned = false;       ///< it names the key of its owner
  std::uint16_t type = 0;   ///< 0 when it is encrypted, as OpenDHT has it
  std::uint32_t data = 0;   ///< bytes of what is encrypted, or of the data
  std::uint32_t sig = 0;    ///< of the signature
  std::uint32_t utype = 0;  ///< of the name that its user gave its type

  /// All that OpenDHT may count as its size.
  [[nodiscard]] std::size_t bytes() const { return std::size_t{data} + sig + utype; }
};
/// A whole value in a message.
struct DhtWholeValue {
  DhtSpan at;
  DhtValueInfo info;
};

/// What stands in the place of a value that is not for OpenDHT.
struct DhtCut {
  DhtSpan at;
  ByteVector instead;  ///< empty: nil
};

/// What the gate has to know of a message. Reuse one object: its vectors keep their storage.
struct DhtMessage {
  DhtKind kind = DhtKind::kPing;
  std::uint32_t tid = 0;      ///< as OpenDHT reads it
  std::uint32_t network = 0;  ///< 0 when it is not said
  Bytes id;                   ///< of the sending node, 20 bytes, never all zero; empty for kValueData
  Bytes key;                  ///< `h`, 20 bytes: where values are asked for or put; empty when it is not there
  bool has_token = false;
  std::size_t values = 0;  ///< elements of `values`
  std::vector<DhtSizedValue> sized;
  std::vector<DhtWholeValue> whole;
  std::uint64_t value_id = 0;  ///< `vid`
  std::vector<DhtPart> parts;  ///< of kValueData
  /// Elements of `values` that OpenDHT could not read, or should not. One who stored such a value somewhere must not
  /// make all answers unreadable that contain it: so these are cut out (replaced by nil), and the message passes.
  std::vector<DhtSpan> bad_values;
  /// Elements of `values` that are in order, and refused by the gate, which adds them: the walker does not.
  std::vector<DhtCut> refused;

  void clear();
  [[nodiscard]] bool is_request() const { return kind >= DhtKind::kPing; }
};

/// kNone: `message` tells what the datagram says, with spans that are valid as long as the datagram. Otherwise
/// `message` is unspecified.
[[nodiscard]] DhtFault walk_dht_message(Bytes datagram, DhtMessage& message);

/// One value, alone and whole: what an element of `values` or the assembled parts must be.
/// `info` is set when the result is kNone.
[[nodiscard]] DhtFault walk_dht_value(Bytes value, DhtValueInfo* info = nullptr);

/// Whether OpenDHT's one thread may read this public key (DER SubjectPublicKeyInfo) and check a signature with it: the
/// lengths fit each other, and an RSA key is not so large that it takes long.
[[nodiscard]] bool is_fair_public_key(Bytes der);

/// What a `ping` from us looks like, as OpenDHT 2.4.12 sends it.
struct DhtPing {
  Bytes node_id;  ///< 20 bytes
  std::uint32_t tid = 0;
  std::uint32_t network = 0;
};
[[nodiscard]] ByteVector encode_dht_ping(const DhtPing& ping);

/// The datagram with other bytes at the given places. `spans` in order, apart from each other, and within it; `bytes`
/// has one for each.
[[nodiscard]] ByteVector splice(Bytes datagram, const std::vector<DhtSpan>& spans, const std::vector<Bytes>& bytes);

/// The bad and the refused values of a message, in order.
[[nodiscard]] std::vector<DhtCut> cuts_of(const DhtMessage& message);
/// The datagram without them.
[[nodiscard]] ByteVector splice(Bytes datagram, const std::vector<DhtCut>& cuts);

}  // namespace connd::proto
