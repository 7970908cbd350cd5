// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtFault: why a datagram of the DHT, or of its discovery on the LAN, goes no further.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace connd::proto {

enum class DhtFault : std::uint8_t {
  kNone = 0,  ///< in order
  // What came was not in the grammar (DHT_GATE.md).
  kEmpty,        ///< no bytes at all
  kTooLong,      ///< longer than any datagram that a node sends
  kTruncated,    ///< the msgpack ends before its last object does
  kTrailing,     ///< bytes behind the object
  kBadByte,      ///< a byte that begins no msgpack object
  kTooDeep,      ///< nested deeper than any message is
  kTooMany,      ///< more elements than any message has
  kNotMap,       ///< a map was due, of the datagram itself or of a member that OpenDHT takes for one
  kWrongType,    ///< a known member of another type than OpenDHT reads
  kOutOfBounds,  ///< a number too large for its type, or a run of bytes too long or too short
  kBadKey,       ///< a key of a map that is no text
  kDuplicate,    ///< a known member twice
  kMissing,      ///< without a member that this kind must have
  kUnknownKind,  ///< no kind of message that OpenDHT knows
  kBadValue,     ///< a value whose inside OpenDHT could not read
  // In order by itself, and not wanted here.
  kStrayPart,     ///< part of a value that was not announced, or not the part that is next
  kPartNoRoom,    ///< no room for values that come in parts
  kSendNoRoom,    ///< of ours: not sent, there was no room to keep it until its address has proved itself
  kSendUnproved,  ///< of ours: not sent, its address did not prove itself in time
  kSendRate,      ///< of ours: not sent, its address has had its bytes for this time
};
inline constexpr std::size_t kDhtFaults = static_cast<std::size_t>(DhtFault::kSendRate) + 1;

/// As status shows it: lower-case words with dashes, `truncated`. `none` for kNone.
std::string_view fault_name(DhtFault fault);

}  // namespace connd::proto
