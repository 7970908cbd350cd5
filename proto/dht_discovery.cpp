// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_discovery.h"

#include <algorithm>

#include "proto/dht_members.h"
#include "proto/dht_msgpack.h"

namespace connd::proto {
namespace {

using Type = MsgpackItem::Type;

enum Service : std::uint8_t { kDht };
constexpr MemberName kServiceNames[] = {{"dht", kDht}};
/// Node id, port, network; a later version may add more.
constexpr std::size_t kAnnouncementElements = 3;
constexpr std::string_view kDiscoveryQuery = "q";

DhtAnnouncement read_announcement(MsgpackReader& in) {
  DhtAnnouncement out;
  const std::size_t elements = read_array(in, kMaxDhtMembers);
  if (elements < kAnnouncementElements) in.fail(DhtFault::kMissing);
  const Bytes id = read_bin(in, out.node_id.size(), out.node_id.size());
  std::copy(id.begin(), id.end(), out.node_id.begin());
  out.port = static_cast<std::uint16_t>(read_uint(in, UINT16_MAX));
  out.network = static_cast<std::uint32_t>(read_uint(in, UINT32_MAX));
  if (out.port == 0) in.fail(DhtFault::kOutOfBounds);
  for (std::size_t i = kAnnouncementElements; i < elements && !in.failed(); ++i) in.skip(2);
  return out;
}

}  // namespace

DhtFault walk_dht_discovery(Bytes datagram, std::optional<DhtAnnouncement>& announcement) {
  announcement.reset();
  if (datagram.empty()) return DhtFault::kEmpty;
  if (datagram.size() > kMaxDhtDiscoveryDatagram) return DhtFault::kTooLong;
  if (is_dht_discovery_query(datagram)) return DhtFault::kNone;
  MsgpackReader in(datagram);
  std::optional<DhtAnnouncement> found;
  Members services(in, 0);
  while (services.next(kServiceNames)) found = read_announcement(in);
  if (!in.failed() && !in.at_end()) in.fail(DhtFault::kTrailing);
  if (!in.failed()) announcement = found;
  return in.fault();
}

bool is_dht_discovery_query(Bytes datagram) {
  MsgpackReader in(datagram);
  const MsgpackItem item = in.next();
  return item.is(Type::kStr) && item.text() == kDiscoveryQuery && in.at_end();
}

ByteVector encode_dht_discovery(const DhtAnnouncement& announcement) {
  ByteVector out;
  out.push_back(0x81);
  append_msgpack_text(out, "dht");
  out.push_back(0x90 | kAnnouncementElements);
  append_msgpack_bin(out, announcement.node_id);
  append_msgpack_u32(out, announcement.port);
  append_msgpack_u32(out, announcement.network);
  return out;
}

ByteVector encode_dht_discovery_query() {
  ByteVector out;
  append_msgpack_text(out, kDiscoveryQuery);
  return out;
}

}  // namespace connd::proto
