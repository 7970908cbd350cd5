// SPDX-License-Identifier: GPL-3.0-or-later
/// OpenDHT's discovery on the LAN: datagrams to a multicast group, by which nodes tell each other where they are.
///
/// OpenDHT would open sockets for it that nobody can stand before; so it is left off there, the daemon receives these
/// datagrams itself, and gives OpenDHT the address (`bootstrap`).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "proto/bytes.h"
#include "proto/dht_fault.h"

namespace connd::proto {

/// Where OpenDHT's nodes speak and listen: UDP, with a TTL that the sender chooses.
inline constexpr std::uint16_t kDhtDiscoveryPort = 8888;
inline constexpr const char* kDhtDiscoveryGroup4 = "239.192.0.1";
inline constexpr const char* kDhtDiscoveryGroup6 = "ff08::101";
/// An announcement of a node is below 100 bytes; other programs may announce other services in the same datagram.
inline constexpr std::size_t kMaxDhtDiscoveryDatagram = 1500;

/// A node says that it is there: at the address that the datagram came from, and this port.
struct DhtAnnouncement {
  std::array<std::uint8_t, 20> node_id{};
  std::uint16_t port = 0;     ///< never 0
  std::uint32_t network = 0;  ///< OpenDHT's network id: speak only to nodes of the own one
};

/// Reads one datagram. kNone and no announcement: in order, and a query, or of other services than the DHT.
/// `announcement` is set only when there is one and the result is kNone. Never reads out of `datagram`, allocates
/// nothing.
[[nodiscard]] DhtFault walk_dht_discovery(Bytes datagram, std::optional<DhtAnnouncement>& announcement);

/// Whether it asks all who listen to announce themselves: a node does so when it starts, and is answered directly. The
/// answer is larger than the question, so answer few a second.
[[nodiscard]] bool is_dht_discovery_query(Bytes datagram);
[[nodiscard]] ByteVector encode_dht_discovery_query();

/// The same datagram as OpenDHT's nodes send: each of them reads it.
[[nodiscard]] ByteVector encode_dht_discovery(const DhtAnnouncement& announcement);

}  // namespace connd::proto
