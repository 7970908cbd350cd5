// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_fault.h"

namespace connd::proto {

std::string_view fault_name(DhtFault fault) {
  switch (fault) {
    case DhtFault::kNone:
      return "none";
    case DhtFault::kEmpty:
      return "empty";
    case DhtFault::kTooLong:
      return "too-long";
    case DhtFault::kTruncated:
      return "truncated";
    case DhtFault::kTrailing:
      return "trailing-bytes";
    case DhtFault::kBadByte:
      return "bad-byte";
    case DhtFault::kTooDeep:
      return "too-deep";
    case DhtFault::kTooMany:
      return "too-many-elements";
    case DhtFault::kNotMap:
      return "not-a-map";
    case DhtFault::kWrongType:
      return "wrong-type";
    case DhtFault::kOutOfBounds:
      return "out-of-bounds";
    case DhtFault::kBadKey:
      return "bad-key";
    case DhtFault::kDuplicate:
      return "duplicate-member";
    case DhtFault::kMissing:
      return "missing-member";
    case DhtFault::kUnknownKind:
      return "unknown-kind";
    case DhtFault::kBadValue:
      return "bad-value";
    case DhtFault::kStrayPart:
      return "stray-part";
    case DhtFault::kPartNoRoom:
      return "no-room-for-parts";
    case DhtFault::kSendNoRoom:
      return "no-room-to-hold";
    case DhtFault::kSendUnproved:
      return "address-unproved";
    case DhtFault::kSendRate:
      return "rate-of-address";
  }
  return "unknown";
}

}  // namespace connd::proto
