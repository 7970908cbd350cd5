// SPDX-License-Identifier: GPL-3.0-or-later
/// Messages of the DHT for tests: written by hand, with a small msgpack writer that also writes what it should not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_gate.h"
#include "proto/time.h"

namespace connd::proto::test {

/// Appends objects, in whatever order.
class Pack {
 public:
  ByteVector bytes;

  Pack& map(std::size_t n) { return head(0x80, 0xde, n); }
  Pack& array(std::size_t n) { return head(0x90, 0xdc, n); }
  Pack& str(std::string_view text) {
    raw({static_cast<std::uint8_t>(0xa0 | text.size())});
    return add(as_bytes(text));
  }
  Pack& bin(Bytes b) {
    if (b.size() < 256) {
      raw({0xc4, static_cast<std::uint8_t>(b.size())});
    } else {
      raw({0xc6});
      big_endian(b.size(), 4);
    }
    return add(b);
  }
  Pack& uint(std::uint64_t n) {
    if (n < 0x80) return raw({static_cast<std::uint8_t>(n)});
    if (n <= 0xffff) return raw({0xcd}).big_endian(n, 2);
    if (n <= 0xffff'ffff) return raw({0xce}).big_endian(n, 4);
    return raw({0xcf}).big_endian(n, 8);
  }
  Pack& raw(std::initializer_list<std::uint8_t> b) {
    bytes.insert(bytes.end(), b.begin(), b.end());
    return *this;
  }
  Pack& add(Bytes b) {
    bytes.insert(bytes.end(), b.begin(), b.end());
    return *this;
  }
  Pack& add(const Pack& p) { return add(p.bytes); }

 private:
  Pack& big_endian(std::uint64_t n, int count) {
    for (int i = count - 1; i >= 0; --i) bytes.push_back(static_cast<std::uint8_t>(n >> (8 * i)));
    return *this;
  }
  Pack& head(std::uint8_t small, std::uint8_t large, std::size_t n) {
    if (n < 16) return raw({static_cast<std::uint8_t>(small | n)});
    return raw({large}).big_endian(n, 2);
  }
};

inline ByteVector bytes_of(std::size_t n, std::uint8_t fill) {
  return ByteVector(n, fill);
}
inline ByteVector node_id(std::uint8_t fill) {
  return bytes_of(20, fill);
}

inline ByteVector from_hex_text(std::string_view hex) {
  ByteVector out(hex.size() / 2);
  if (!from_hex(hex, out)) out.clear();
  return out;
}

/// {q: NAME, a: ARGUMENTS, t, y: "q", v}; `arguments` is the whole map.
inline ByteVector query(std::string_view name, const Pack& arguments, std::uint32_t tid = 7) {
  Pack p;
  p.map(5).str("a").add(arguments).str("q").str(name).str("t").uint(tid).str("y").str("q").str("v").str("RNG1");
  return p.bytes;
}
inline ByteVector reply(const Pack& answer, std::uint32_t tid = 7) {
  Pack p;
  p.map(4).str("r").add(answer).str("t").uint(tid).str("y").str("r").str("v").str("RNG1");
  return p.bytes;
}
inline Pack id_map(std::size_t members, std::uint8_t fill = 0x11) {
  Pack p;
  p.map(members).str("id").bin(node_id(fill));
  return p;
}

/// A value that is not signed, and one that is encrypted.
inline Pack plain_value(std::uint64_t id, std::size_t bytes, std::uint8_t fill = 0x5a) {
  Pack p;
  p.map(2).str("id").uint(id).str("dat").map(1).str("body").map(2).str("type").uint(0).str("data");
  p.bin(bytes_of(bytes, fill));
  return p;
}
inline Pack sealed_value(std::uint64_t id, std::size_t bytes) {
  Pack p;
  p.map(2).str("id").uint(id).str("dat").bin(bytes_of(bytes, 0xcc));
  return p;
}

/// A reply that announces values of these sizes.
inline ByteVector sized_reply(const std::vector<std::size_t>& sizes, std::uint32_t tid = 7) {
  Pack p = id_map(2);
  p.str("values").array(sizes.size());
  for (const std::size_t size : sizes) p.uint(size);
  return reply(p, tid);
}
inline ByteVector part(std::uint32_t index, std::size_t offset, Bytes bytes, std::uint32_t tid = 7) {
  Pack p;
  p.map(3).str("t").uint(tid).str("y").str("v").str("p").map(1).uint(index).map(2).str("o").uint(offset).str("d");
  p.bin(bytes);
  return p.bytes;
}
/// All parts of a value, as OpenDHT cuts it.
inline std::vector<ByteVector> parts_of(std::uint32_t index, Bytes value, std::uint32_t tid = 7) {
  std::vector<ByteVector> out;
  for (std::size_t offset = 0; offset < value.size(); offset += 1280) {
    out.push_back(part(index, offset, value.subspan(offset, std::min<std::size_t>(1280, value.size() - offset)), tid));
  }
  return out;
}

inline DhtAddress address(std::uint8_t last, std::uint16_t port = 4222) {
  DhtAddress out;
  out.ip = {192, 0, 2, last};
  out.port = port;
  return out;
}
/// The n-th of many, in networks of 256.
inline DhtAddress nth_address(std::uint32_t n) {
  DhtAddress out;
  out.ip = {10, static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
  out.port = 4222;
  return out;
}

/// Not random at all, and different each time.
inline std::function<std::uint32_t()> counting_random(std::uint32_t from = 0x1000'0000) {
  return [n = from]() mutable { return n += 0x9e37'79b9; };
}

inline TimePoint at(std::int64_t ms) {
  return TimePoint(Duration(ms));
}

}  // namespace connd::proto::test
