// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/rfc4571.h"

#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

// What was read, with data joined: how data is cut says nothing.
struct Read {
  ByteVector stream;
  std::vector<ByteVector> stun;
  int hand_overs = 0;
  std::error_code error;
  friend bool operator==(const Read&, const Read&) = default;
};

void drain(Rfc4571Reader& reader, Read& out) {
  while (true) {
    const auto next = reader.next();
    if (!next) {
      out.error = next.error();
      return;
    }
    if (!*next) return;
    if (const auto* data = std::get_if<StreamData>(&**next)) {
      CHECK_FALSE(data->bytes.empty());
      out.stream.insert(out.stream.end(), data->bytes.begin(), data->bytes.end());
    } else if (const auto* stun = std::get_if<StunMessage>(&**next)) {
      out.stun.emplace_back(stun->bytes.begin(), stun->bytes.end());
    } else {
      ++out.hand_overs;
    }
  }
}

template <class Cut>
Read read(const ByteVector& stream, Cut cut) {
  Rfc4571Reader reader;
  Read out;
  Bytes rest(stream);
  while (!rest.empty() && !out.error) {
    const std::size_t n = cut(rest.size());
    const ByteVector piece(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n));
    rest = rest.subspan(n);
    reader.feed(piece);
    drain(reader, out);
  }
  return out;
}

Read read_whole(const ByteVector& stream) {
  return read(stream, [](std::size_t n) { return n; });
}

void append_frame(ByteVector& out, const ByteVector& body) {
  out.push_back(static_cast<std::uint8_t>(body.size() >> 8));
  out.push_back(static_cast<std::uint8_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
}
ByteVector framed(const ByteVector& body) {
  ByteVector out;
  append_frame(out, body);
  return out;
}

ByteVector stun_like(std::size_t size) {
  ByteVector out(size, 0x5a);
  const ByteVector head{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
  std::copy(head.begin(), head.end(), out.begin());
  return out;
}

}  // namespace

TEST_CASE("a mixed stream is told apart, however it is cut") {
  ByteVector stream;
  const ByteVector record(300, 0x17);
  append_frame(stream, stun_like(20));
  append_frame(stream, record);
  append_frame(stream, {});
  append_frame(stream, {'J', 'C', 'H', 1});
  append_frame(stream, stun_like(19));  // no whole header: passed over
  append_frame(stream, {'J', 'C', 'H', 2});
  append_frame(stream, {'J', 'C', 'H', 1, 0});
  append_frame(stream, {'J'});
  append_frame(stream, {0, 1, 2, 3, 0x21, 0x12, 0xa4});              // shorter than the cookie's end
  append_frame(stream, {4, 1, 2, 3, 0x21, 0x12, 0xa4, 0x42});        // first byte above 3
  append_frame(stream, {3, 1, 2, 3, 0x21, 0x12, 0xa4, 0x43, 9, 9});  // another cookie
  append_frame(stream, stun_like(kMaxStunBytes));
  append_frame(stream, ByteVector(65'535, 0x16));

  Read expected;
  const auto data = [&expected](const ByteVector& bytes) {
    expected.stream.insert(expected.stream.end(), bytes.begin(), bytes.end());
  };
  expected.stun = {stun_like(20), stun_like(kMaxStunBytes)};
  expected.hand_overs = 1;
  data(record);
  data({'J', 'C', 'H', 2, 'J', 'C', 'H', 1, 0, 'J', 0, 1, 2, 3, 0x21, 0x12, 0xa4});
  data({4, 1, 2, 3, 0x21, 0x12, 0xa4, 0x42, 3, 1, 2, 3, 0x21, 0x12, 0xa4, 0x43, 9, 9});
  data(ByteVector(65'535, 0x16));

  CHECK((read_whole(stream) == expected));
  for (std::size_t size = 1; size <= 40; ++size) {
    INFO(size);
    CHECK((read(stream, [size](std::size_t n) { return std::min(n, size); }) == expected));
  }
  for (unsigned seed = 0; seed < 20; ++seed) {
    INFO(seed);
    std::minstd_rand random(seed);
    CHECK(
        (read(stream, [&random](std::size_t n) { return 1 + random() % std::min<std::size_t>(n, 100); }) == expected));
  }
}

TEST_CASE("data is given from where it lies, before its frame is whole") {
  const ByteVector stream = framed(ByteVector(1000, 0x17));
  Rfc4571Reader reader;
  reader.feed(Bytes(stream).first(500));
  const auto next = reader.next();
  REQUIRE(next);
  REQUIRE(*next);
  const Bytes bytes = std::get<StreamData>(**next).bytes;
  CHECK(bytes.data() == stream.data() + 2);
  CHECK(bytes.size() == 498);
  CHECK_FALSE(reader.next().value());
}

TEST_CASE("a hand-over frame is reported once per frame, with the bytes before it first") {
  ByteVector stream = framed({0x16, 1});
  append_frame(stream, {'J', 'C', 'H', 1});
  Rfc4571Reader reader;
  reader.feed(stream);
  CHECK(std::holds_alternative<StreamData>(**reader.next()));
  CHECK(std::holds_alternative<HandOver>(**reader.next()));
  CHECK_FALSE(reader.next().value());
}

TEST_CASE("every truncation of a STUN frame waits") {
  const ByteVector stream = framed(stun_like(40));
  for (std::size_t n = 0; n < stream.size(); ++n) {
    INFO(n);
    CHECK((read_whole({stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(n)}) == Read{}));
  }
}

TEST_CASE("a STUN message longer than any real one is an error, and stays one") {
  const ByteVector stream = framed(stun_like(kMaxStunBytes + 1));
  CHECK(read_whole(stream).error == Errc::kStunTooLong);
  // Known from its first eight bytes.
  Rfc4571Reader reader;
  reader.feed(Bytes(stream).first(10));
  CHECK(reader.next().error() == Errc::kStunTooLong);
  reader.feed(Bytes(stream).subspan(10));
  CHECK(reader.next().error() == Errc::kStunTooLong);
}
