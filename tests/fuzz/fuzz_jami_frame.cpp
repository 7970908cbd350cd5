// SPDX-License-Identifier: GPL-3.0-or-later
/// Jami's dialect from anyone. The codec finds the same pieces whatever the cuts (the input's first byte chooses them),
/// what its control objects say survives being written and read again, and a mux that is given the stream lives, within
/// its bounds.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "proto/jami_frame.h"
#include "proto/mux.h"
#include "tests/fuzz/check.h"

using namespace connd::proto;

namespace {

struct Piece {
  FramePiece::Kind kind;
  WireId channel;
  ByteVector body;
  friend bool operator==(const Piece&, const Piece&) = default;
};
struct Read {
  std::vector<Piece> pieces;
  bool failed = false;
  friend bool operator==(const Read&, const Read&) = default;
};

// Data may come in parts: joined.
void add(std::vector<Piece>& pieces, const FramePiece& piece) {
  const bool more = piece.kind == FramePiece::Kind::kData && !pieces.empty() && pieces.back().kind == piece.kind &&
                    pieces.back().channel == piece.channel;
  if (!more) pieces.push_back({piece.kind, piece.channel, {}});
  pieces.back().body.insert(pieces.back().body.end(), piece.body.begin(), piece.body.end());
}

Read read(Bytes stream, std::size_t cut) {
  JamiFrameCodec codec;
  Read out;
  while (!stream.empty() && !out.failed) {
    const ByteVector part(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(std::min(cut, stream.size())));
    stream = stream.subspan(part.size());
    Bytes in = part;
    for (;;) {
      const auto piece = codec.next(in);
      out.failed = !piece.ok();
      if (!piece || !*piece) break;
      FUZZ_CHECK((*piece)->body.size() <= kMaxFrameBody);
      add(out.pieces, **piece);
    }
  }
  return out;
}

void check_objects(Bytes body) {
  const auto messages = jami::decode(body);
  if (!messages) return;
  for (const control::Message& message : *messages) {
    ByteVector encoded;
    jami::encode(message, encoded);
    FUZZ_CHECK(encoded.empty() == std::holds_alternative<control::Unknown>(message));
    if (encoded.empty() || encoded.size() > kMaxFrameBody) continue;
    const Read again = read(encoded, encoded.size());
    FUZZ_CHECK(again.pieces.size() == 1 && !again.failed);
    const auto decoded = jami::decode(again.pieces.front().body);
    FUZZ_CHECK(decoded.ok() && decoded->size() == 1 && decoded->front().index() == message.index());
  }
}

/// A mux that takes everything and reads nothing.
void run_mux(Bytes stream, std::size_t cut) {
  TimePoint now{Duration{1'000}};
  HandleSource handles;
  Mux mux({}, jami_dialect(), handles, now);
  (void)mux.open("ours", false, now);
  while (!stream.empty()) {
    const ByteVector part(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(std::min(cut, stream.size())));
    stream = stream.subspan(part.size());
    mux.feed(part, now);
    for (;;) {
      const auto event = mux.next_event(now);
      if (!event) return;
      if (!*event) break;
      if ((*event)->kind == MuxEvent::Kind::kRequested) (void)mux.accept((*event)->channel, now);
    }
    FUZZ_CHECK(mux.buffered_bytes() <= mux.max_held());
    mux.flush_control();
    mux.output_taken();
    now += Duration{10};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes stream(data + 1, size - 1);
  const std::size_t cut = 1U + data[0] % 32U;
  const Read whole = read(stream, size);
  FUZZ_CHECK(whole == read(stream, cut));
  for (const Piece& piece : whole.pieces) {
    if (piece.kind == FramePiece::Kind::kControl) check_objects(piece.body);
  }
  run_mux(stream, cut);
  return 0;
}
