// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/record_framer.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

const ByteVector kRecords{0x16, 3, 3, 0, 2, 'a', 'b', 0x17, 3, 3, 0, 0, 0x15, 3, 3, 0, 1, 'c'};
const ByteVector kFrames{0, 7, 0x16, 3, 3, 0, 2, 'a', 'b', 0, 5, 0x17, 3, 3, 0, 0, 0, 6, 0x15, 3, 3, 0, 1, 'c'};

ByteVector bytes_of(const Buffer& buffer) {
  return {buffer.data().begin(), buffer.data().end()};
}

}  // namespace

TEST_CASE("each record becomes one RFC 4571 frame, however the stream is cut") {
  for (std::size_t first = 0; first <= kRecords.size(); ++first) {
    for (std::size_t second = first; second <= kRecords.size(); ++second) {
      Buffer out(1000);
      RecordFramer framer(out, Framing::kRfc4571);
      CHECK(framer.append(Bytes(kRecords).first(first)));
      CHECK(framer.append(Bytes(kRecords).subspan(first, second - first)));
      CHECK(framer.append(Bytes(kRecords).subspan(second)));
      CHECK(bytes_of(out) == kFrames);
    }
  }
}

TEST_CASE("without framing the bytes stay as they are") {
  Buffer out(1000);
  RecordFramer framer(out, Framing::kNone);
  CHECK(framer.append(kRecords));
  CHECK(bytes_of(out) == kRecords);
}

TEST_CASE("a framer says when its buffer is full") {
  for (std::size_t size = 0; size < kFrames.size(); ++size) {
    Buffer out(size);
    RecordFramer framer(out, Framing::kRfc4571);
    CHECK_FALSE(framer.append(kRecords));
  }
  Buffer out(kFrames.size());
  RecordFramer framer(out, Framing::kRfc4571);
  CHECK(framer.append(kRecords));
}
