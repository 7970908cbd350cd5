// SPDX-License-Identifier: GPL-3.0-or-later
/// Changes scripts of datagrams so that they stay msgpack most of the time: a change of bytes alone hardly ever gets
/// beyond the outermost map.
#pragma once

#include <array>
#include <optional>
#include <random>
#include <string_view>

#include "tests/fuzz/dht_script.h"

namespace connd::fuzz {

/// One msgpack object. Its head may lie about what follows.
struct MsgpackTree {
  enum class Kind : std::uint8_t { kRaw, kUint, kStr, kBin, kArray, kMap };
  Kind kind = Kind::kRaw;
  std::uint64_t number = 0;         ///< kUint
  std::int64_t lie = 0;             ///< added to the length or count that the head says
  proto::ByteVector bytes;          ///< kRaw: the object as it is; kStr, kBin: the body
  std::vector<MsgpackTree> inside;  ///< kArray: elements; kMap: keys and values in turn
};

class DhtMutator {
 public:
  explicit DhtMutator(std::uint32_t seed) : random_(seed) {}

  proto::ByteVector mutate(proto::Bytes script) {
    std::vector<DhtStep> steps = parse_script(script);
    if (steps.empty()) steps.emplace_back();
    for (unsigned n = 1 + below(4); n > 0; --n) change_steps(steps);
    return write_script(steps);
  }

 private:
  using Kind = MsgpackTree::Kind;
  static constexpr std::size_t kMaxNodes = 2'000;
  static constexpr std::size_t kMaxDepth = 24;

  std::uint32_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::uint32_t>(random_() % n); }

  void change_steps(std::vector<DhtStep>& steps) {
    DhtStep& step = steps[below(steps.size())];
    switch (below(12)) {
      case 0:
        step.flags = static_cast<std::uint8_t>(random_());
        break;
      case 1:
        if (steps.size() < kMaxSteps) steps.insert(steps.begin() + below(steps.size()), DhtStep(step));
        break;
      case 2:
        if (steps.size() > 1) steps.erase(steps.begin() + below(steps.size()));
        break;
      case 3:
        std::swap(step, steps[below(steps.size())]);
        break;
      case 4:
        change_bytes(step.datagram);
        break;
      default:
        change_message(step.datagram, steps[below(steps.size())].datagram);
    }
  }

  void change_bytes(proto::ByteVector& bytes) {
    if (bytes.empty() || below(8) == 0) bytes.push_back(static_cast<std::uint8_t>(random_()));
    bytes[below(bytes.size())] = static_cast<std::uint8_t>(random_());
    if (below(8) == 0) bytes.resize(below(bytes.size() + 1));
  }

  void change_message(proto::ByteVector& datagram, const proto::ByteVector& other) {
    proto::ByteVector copy = datagram;
    auto tree = parse(copy);
    if (!tree) return change_bytes(datagram);
    std::vector<MsgpackTree*> nodes;
    collect(*tree, nodes);
    auto donor = parse(other);
    change_node(*nodes[below(nodes.size())], donor ? &*donor : nullptr);
    datagram.clear();
    write(*tree, datagram);
    if (datagram.size() > 60'000) datagram.resize(60'000);
  }

  void change_node(MsgpackTree& node, MsgpackTree* donor) {
    // Values within parts and certificates are msgpack in bytes.
    if (node.kind == Kind::kBin && node.bytes.size() > 8 && below(2) == 0) {
      if (auto nested = parse(node.bytes); nested && nested->kind == Kind::kMap) {
        std::vector<MsgpackTree*> nodes;
        collect(*nested, nodes);
        change_node(*nodes[below(nodes.size())], donor);
        node.bytes.clear();
        write(*nested, node.bytes);
        return;
      }
    }
    switch (below(10)) {
      case 0:
        node = leaf();
        break;
      case 1:
        if (!node.inside.empty()) node.inside.erase(node.inside.begin() + below(node.inside.size()));
        break;
      case 2:
        if (!node.inside.empty()) {
          const MsgpackTree copy = node.inside[below(node.inside.size())];
          node.inside.insert(node.inside.begin() + below(node.inside.size()), copy);
        }
        break;
      case 3:
        if (!node.inside.empty())
          std::swap(node.inside[below(node.inside.size())], node.inside[below(node.inside.size())]);
        break;
      case 4:
        add_member(node);
        break;
      case 5:
        wrap(node);
        break;
      case 6:
        if (donor != nullptr) {
          std::vector<MsgpackTree*> nodes;
          collect(*donor, nodes);
          node = MsgpackTree(*nodes[below(nodes.size())]);
        }
        break;
      case 7:
        node.lie = static_cast<std::int64_t>(below(5)) - 2;
        break;
      case 8:
        if (!node.bytes.empty()) change_bytes(node.bytes);
        break;
      default:
        node.number += below(7) - 3U;
    }
  }

  void add_member(MsgpackTree& node) {
    if (node.kind != Kind::kMap) return;
    MsgpackTree key = leaf();
    key.kind = Kind::kStr;
    const std::string_view name = kNames[below(kNames.size())];
    key.bytes.assign(name.begin(), name.end());
    const std::size_t at = node.inside.size() / 2 * 2;
    node.inside.insert(node.inside.begin() + static_cast<std::ptrdiff_t>(at), leaf());
    node.inside.insert(node.inside.begin() + static_cast<std::ptrdiff_t>(at), key);
  }

  void wrap(MsgpackTree& node) {
    MsgpackTree outer;
    outer.kind = below(2) == 0 ? Kind::kArray : Kind::kMap;
    if (outer.kind == Kind::kMap) {
      MsgpackTree key;
      key.kind = Kind::kStr;
      const std::string_view name = kNames[below(kNames.size())];
      key.bytes.assign(name.begin(), name.end());
      outer.inside.push_back(key);
    }
    outer.inside.push_back(std::move(node));
    node = std::move(outer);
  }

  MsgpackTree leaf() {
    MsgpackTree out;
    switch (below(8)) {
      case 0: {
        constexpr std::uint8_t kRaws[] = {0xc0, 0xc1, 0xc2, 0xc3, 0xff, 0xe0};
        out.bytes = {kRaws[below(std::size(kRaws))]};
        break;
      }
      case 1:
        out.bytes = {0xcb, 0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18};
        break;
      case 2:
        out.bytes = {0xdd, 0xff, 0xff, 0xff, 0xff};
        break;
      case 3:
        out.kind = below(2) == 0 ? Kind::kArray : Kind::kMap;
        break;
      case 4: {
        out.kind = Kind::kStr;
        const std::string_view name = kNames[below(kNames.size())];
        out.bytes.assign(name.begin(), name.end());
        break;
      }
      case 5:
      case 6: {
        constexpr std::size_t kSizes[] = {0, 1, 3, 4, 5, 16, 19, 20, 21, 26, 27, 32, 38, 39, 52, 64, 208, 256, 600};
        out.kind = Kind::kBin;
        out.bytes.assign(kSizes[below(std::size(kSizes))], static_cast<std::uint8_t>(random_()));
        break;
      }
      default: {
        constexpr std::uint64_t kNumbers[] = {0,
                                              1,
                                              2,
                                              5,
                                              10,
                                              127,
                                              128,
                                              255,
                                              401,
                                              404,
                                              600,
                                              65'535,
                                              65'536,
                                              65'568,
                                              65'569,
                                              0x7fffffff,
                                              0x80000000,
                                              0xffffffff,
                                              0x100000000,
                                              0x7fffffffffffffff,
                                              0xffffffffffffffff};
        out.kind = Kind::kUint;
        out.number = kNumbers[below(std::size(kNumbers))];
      }
    }
    return out;
  }

  static void collect(MsgpackTree& node, std::vector<MsgpackTree*>& out) {
    out.push_back(&node);
    for (MsgpackTree& child : node.inside) collect(child, out);
  }

  static std::optional<MsgpackTree> parse(proto::Bytes in) {
    proto::ByteReader reader(in);
    std::size_t nodes = 0;
    return parse(reader, nodes, 0);
  }

  static std::uint64_t number(proto::ByteReader& in, unsigned bytes) {
    std::uint64_t out = 0;
    for (; bytes > 0; --bytes) out = (out << 8) | in.u8();
    return out;
  }

  static std::optional<MsgpackTree> parse(proto::ByteReader& in, std::size_t& nodes, std::size_t depth) {
    if (++nodes > kMaxNodes || depth > kMaxDepth) return std::nullopt;
    const proto::Bytes before = in.rest();
    const unsigned head = in.u8();
    if (in.failed()) return std::nullopt;
    MsgpackTree out;
    std::uint64_t count = 0;
    if (head < 0x80) {
      out.kind = Kind::kUint;
      out.number = head;
    } else if (head < 0x90 || head == 0xde || head == 0xdf) {
      out.kind = Kind::kMap;
      count = 2 * (head < 0x90 ? head & 15U : number(in, head == 0xde ? 2 : 4));
    } else if (head < 0xa0 || head == 0xdc || head == 0xdd) {
      out.kind = Kind::kArray;
      count = head < 0xa0 ? head & 15U : number(in, head == 0xdc ? 2 : 4);
    } else if (head < 0xc0 || (head >= 0xd9 && head <= 0xdb)) {
      out.kind = Kind::kStr;
      const proto::Bytes body = in.take(head < 0xc0 ? head & 31U : number(in, 1U << (head - 0xd9)));
      out.bytes.assign(body.begin(), body.end());
    } else if (head >= 0xc4 && head <= 0xc6) {
      out.kind = Kind::kBin;
      const proto::Bytes body = in.take(number(in, 1U << (head - 0xc4)));
      out.bytes.assign(body.begin(), body.end());
    } else if (head >= 0xcc && head <= 0xcf) {
      out.kind = Kind::kUint;
      out.number = number(in, 1U << (head - 0xcc));
    } else {
      const std::size_t body = head >= 0xd0 && head <= 0xd3 ? 1U << (head - 0xd0)
                               : head == 0xca               ? 4
                               : head == 0xcb               ? 8
                                                            : 0;
      in.take(body);
      const proto::Bytes whole = before.first(std::min(before.size(), 1 + body));
      out.bytes.assign(whole.begin(), whole.end());
    }
    for (; count > 0 && !in.failed(); --count) {
      auto child = parse(in, nodes, depth + 1);
      if (!child) return std::nullopt;
      out.inside.push_back(std::move(*child));
    }
    if (in.failed()) return std::nullopt;
    return out;
  }

  static void head(proto::ByteVector& out, std::uint8_t form, std::uint64_t n, int bytes) {
    out.push_back(form);
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::uint8_t>(n >> (8 * i)));
  }

  static void write(const MsgpackTree& node, proto::ByteVector& out) {
    const auto lied = [&](std::size_t n) {
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(n) + node.lie);
    };
    switch (node.kind) {
      case Kind::kRaw:
        break;
      case Kind::kUint:
        // Long forms of what patch() looks for.
        if (node.number < 0x80) {
          head(out, static_cast<std::uint8_t>(node.number), 0, 0);
        } else if (node.number <= 0xffff) {
          head(out, 0xcd, node.number, 2);
        } else if (node.number <= 0xffff'ffff) {
          head(out, 0xce, node.number, 4);
        } else {
          head(out, 0xcf, node.number, 8);
        }
        return;
      case Kind::kStr:
        if (lied(node.bytes.size()) < 32) {
          head(out, static_cast<std::uint8_t>(0xa0 | lied(node.bytes.size())), 0, 0);
        } else {
          head(out, 0xda, lied(node.bytes.size()), 2);
        }
        break;
      case Kind::kBin:
        if (lied(node.bytes.size()) < 256) {
          head(out, 0xc4, lied(node.bytes.size()), 1);
        } else {
          head(out, 0xc5, lied(node.bytes.size()), 2);
        }
        break;
      case Kind::kArray:
      case Kind::kMap: {
        const bool map = node.kind == Kind::kMap;
        const std::uint64_t count = lied(map ? node.inside.size() / 2 : node.inside.size());
        if (count < 16) {
          head(out, static_cast<std::uint8_t>((map ? 0x80 : 0x90) | count), 0, 0);
        } else {
          head(out, map ? 0xde : 0xdc, count, 2);
        }
        for (const MsgpackTree& child : node.inside) write(child, out);
        return;
      }
    }
    out.insert(out.end(), node.bytes.begin(), node.bytes.end());
  }

  static constexpr std::array<std::string_view, 44> kNames = {
      "a",      "r",    "u",      "e",     "p",   "t",  "v",     "n",   "s",      "q",      "y",
      "id",     "h",    "target", "sa",    "n4",  "n6", "token", "w",   "values", "sid",    "vid",
      "fileds", "c",    "exp",    "re",    "ve",  "f",  "o",     "d",   "dat",    "body",   "sig",
      "data",   "type", "utype",  "owner", "seq", "to", "ping",  "get", "put",    "update", "listen"};

  std::mt19937 random_;
};

}  // namespace connd::fuzz
