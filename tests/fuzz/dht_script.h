// SPDX-License-Identifier: GPL-3.0-or-later
/// What the fuzz targets of the DHT take for input: datagrams in a row, each with who sends it and when.
///
/// A step is a byte of flags, two bytes of length, and the datagram. What is left over at the end is a last datagram.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"

namespace connd::fuzz {

struct DhtStep {
  std::uint8_t flags = 0;
  proto::ByteVector datagram;

  /// One of four nodes.
  [[nodiscard]] unsigned node() const { return flags & 3U; }
  /// The transaction id is to be one of a request that was sent to this node, and the token one that it was given.
  [[nodiscard]] bool is_answer() const { return (flags & 4U) != 0; }
  [[nodiscard]] bool has_our_token() const { return (flags & 8U) != 0; }
  /// Before the datagram comes. The long ones see values expire, which OpenDHT keeps for ten minutes.
  [[nodiscard]] int pause_ms() const {
    constexpr int kPauses[] = {0, 20, 1'100, 4'000, 30'000, 120'000, 400'000, 700'000};
    return kPauses[(flags >> 4 & 3U) | (flags >> 5 & 4U)];
  }
  /// In one step, at most.
  static constexpr int kMaxStepMs = 30'000;
  /// The node answers pings of the gate.
  [[nodiscard]] bool proves_itself() const { return (flags & 0x40U) != 0; }
};

constexpr std::size_t kMaxSteps = 64;

inline std::vector<DhtStep> parse_script(proto::Bytes in) {
  std::vector<DhtStep> steps;
  while (!in.empty() && steps.size() < kMaxSteps) {
    DhtStep& step = steps.emplace_back();
    step.flags = in[0];
    std::size_t length = in.size() >= 3 ? proto::load_u16(in.data() + 1) : 0;
    in = in.subspan(std::min<std::size_t>(3, in.size()));
    length = std::min(length, in.size());
    step.datagram.assign(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(length));
    in = in.subspan(length);
  }
  return steps;
}

inline proto::ByteVector write_script(const std::vector<DhtStep>& steps) {
  proto::ByteVector out;
  for (const DhtStep& step : steps) {
    const std::size_t length = std::min<std::size_t>(step.datagram.size(), 0xffff);
    out.push_back(step.flags);
    out.push_back(static_cast<std::uint8_t>(length >> 8));
    out.push_back(static_cast<std::uint8_t>(length));
    out.insert(out.end(), step.datagram.begin(), step.datagram.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return out;
}

inline proto::DhtAddress address_of_node(unsigned node) {
  proto::DhtAddress out;
  out.ip = {192, 0, 2, static_cast<std::uint8_t>(1 + node)};
  out.port = static_cast<std::uint16_t>(4222 + node);
  return out;
}

/// The answer of a node to a ping.
inline proto::ByteVector pong(unsigned node, std::uint32_t tid) {
  proto::ByteVector out = {0x82, 0xa1, 'r', 0x81, 0xa2, 'i', 'd', 0xc4, 20};
  out.insert(out.end(), 20, static_cast<std::uint8_t>(0x11 * (node + 1)));
  out.insert(out.end(), {0xa1, 't', 0xce});
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(tid >> shift));
  return out;
}

/// What stands before a transaction id, the number of a listen, and a token, as OpenDHT writes them.
constexpr std::string_view kTid = "\xa1t\xce";
constexpr std::string_view kSid = "\xa3sid\xce";
constexpr std::string_view kToken = "\xa5token\xc4\x20";

/// `length` bytes behind the first `mark`, or none.
inline proto::Bytes behind(proto::Bytes datagram, std::string_view mark, std::size_t length) {
  const std::size_t found = proto::as_text(datagram).find(mark);
  if (found == std::string_view::npos || datagram.size() - found - mark.size() < length) return {};
  return datagram.subspan(found + mark.size(), length);
}

/// Overwrites what follows the first `mark` in the datagram.
inline void patch(proto::ByteVector& datagram, std::string_view mark, proto::Bytes with) {
  const std::string_view text = proto::as_text(datagram);
  const std::size_t found = text.find(mark);
  if (found == std::string_view::npos || datagram.size() - found - mark.size() < with.size()) return;
  std::copy(with.begin(), with.end(), datagram.begin() + static_cast<std::ptrdiff_t>(found + mark.size()));
}

}  // namespace connd::fuzz
