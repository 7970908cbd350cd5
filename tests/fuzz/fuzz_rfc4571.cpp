// SPDX-License-Identifier: GPL-3.0-or-later
/// The ICE stream from anyone: read at once and in cuts that the input's first byte chooses, it must be the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "proto/rfc4571.h"
#include "proto/stun.h"

using namespace connd::proto;

namespace {

struct Read {
  ByteVector stream;
  std::vector<ByteVector> others;  // STUN messages; an empty one is a hand-over
  bool failed = false;
  friend bool operator==(const Read&, const Read&) = default;
};

// False at the end of the input or of the stream.
bool take_one(Rfc4571Reader& reader, Read& out) {
  const auto next = reader.next();
  out.failed = !next.ok();
  if (!next || !*next) return false;
  if (const auto* data = std::get_if<StreamData>(&**next)) {
    out.stream.insert(out.stream.end(), data->bytes.begin(), data->bytes.end());
    return true;
  }
  ByteVector& other = out.others.emplace_back();
  if (const auto* stun = std::get_if<StunMessage>(&**next)) {
    other.assign(stun->bytes.begin(), stun->bytes.end());
    (void)stun_binding_response(stun->bytes, {}, "VOkJxbRl1RmTxUk/WvJxBt");
  }
  return true;
}

Read read(Bytes stream, std::size_t cut) {
  Rfc4571Reader reader;
  Read out;
  while (!stream.empty() && !out.failed) {
    const ByteVector piece(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(std::min(cut, stream.size())));
    stream = stream.subspan(piece.size());
    reader.feed(piece);
    while (take_one(reader, out)) {
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes stream(data + 1, size - 1);
  if (!(read(stream, size) == read(stream, 1U + data[0] % 32U))) std::abort();
  return 0;
}
