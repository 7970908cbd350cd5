// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_discovery.h"

namespace connd::proto {

DhtFault walk_dht_discovery(Bytes, std::optional<DhtAnnouncement>&) {
  return DhtFault::kEmpty;
}

ByteVector encode_dht_discovery(const DhtAnnouncement&) {
  return {};
}

}  // namespace connd::proto
