// SPDX-License-Identifier: GPL-3.0-or-later
/// What the fuzz targets of both dialects do with a stream from anyone. The codec finds the same pieces whatever the
/// cuts, what control objects say survives being written and read again, and a mux that is given the stream lives,
/// within its bounds, and sees the same whatever the cuts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "proto/control.h"
#include "proto/frame.h"
#include "proto/mux.h"
#include "tests/fuzz/check.h"

namespace connd::fuzz {

using proto::Bytes;
using proto::ByteVector;
using proto::FramePiece;

/// A dialect: its codec, its control objects, and the whole.
struct FrameDialect {
  std::unique_ptr<proto::FrameCodec> (*codec)();
  proto::Result<std::vector<proto::control::Message>> (*decode)(Bytes body);
  /// As whole frames.
  ByteVector (*encode)(const proto::control::Message& message);
  std::unique_ptr<proto::Dialect> (*dialect)();
};

struct Piece {
  FramePiece::Kind kind;
  proto::WireId channel;
  ByteVector body;
  friend bool operator==(const Piece&, const Piece&) = default;
};
struct Pieces {
  std::vector<Piece> pieces;
  bool failed = false;
  friend bool operator==(const Pieces&, const Pieces&) = default;
};

// Data may come in parts: joined.
inline void add(std::vector<Piece>& pieces, const FramePiece& piece) {
  const bool more = piece.kind == FramePiece::Kind::kData && !pieces.empty() && pieces.back().kind == piece.kind &&
                    pieces.back().channel == piece.channel;
  if (!more) pieces.push_back({piece.kind, piece.channel, {}});
  pieces.back().body.insert(pieces.back().body.end(), piece.body.begin(), piece.body.end());
}

/// The next piece of `stream`, of its own, so that a sanitizer sees each read beyond its end.
inline ByteVector cut_off(Bytes& stream, std::size_t length) {
  ByteVector out(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(std::min(length, stream.size())));
  stream = stream.subspan(out.size());
  return out;
}

inline Pieces read_frames(const FrameDialect& with, Bytes stream, std::size_t cut) {
  const auto codec = with.codec();
  Pieces out;
  while (!stream.empty() && !out.failed) {
    const ByteVector part = cut_off(stream, cut);
    Bytes in = part;
    for (;;) {
      const auto piece = codec->next(in);
      out.failed = !piece.ok();
      if (!piece || !*piece) break;
      FUZZ_CHECK((*piece)->body.size() <= proto::kMaxFrameBody);
      add(out.pieces, **piece);
    }
  }
  return out;
}

inline void check_objects(const FrameDialect& with, Bytes body) {
  const auto messages = with.decode(body);
  if (!messages) return;
  for (const proto::control::Message& message : *messages) {
    const ByteVector encoded = with.encode(message);
    FUZZ_CHECK(encoded.empty() == std::holds_alternative<proto::control::Unknown>(message));
    if (encoded.empty() || encoded.size() > proto::kMaxFrameBody) continue;
    const Pieces again = read_frames(with, encoded, encoded.size());
    FUZZ_CHECK(again.pieces.size() == 1 && !again.failed);
    const auto decoded = with.decode(again.pieces.front().body);
    FUZZ_CHECK(decoded.ok() && decoded->size() == 1 && decoded->front().index() == message.index());
  }
}

/// What a mux told: data joined, as its cuts are not the stream's.
struct MuxRun {
  struct Told {
    proto::MuxEvent::Kind kind;
    proto::ChannelHandle channel;
    ByteVector data;
    friend bool operator==(const Told&, const Told&) = default;
  };
  std::vector<Told> told;
  bool failed = false;
  friend bool operator==(const MuxRun&, const MuxRun&) = default;
};

inline void note(MuxRun& run, const proto::MuxEvent& event) {
  using Kind = proto::MuxEvent::Kind;
  const bool more = event.kind == Kind::kData && !run.told.empty() && run.told.back().kind == Kind::kData &&
                    run.told.back().channel == event.channel;
  if (!more) run.told.push_back({event.kind, event.channel, {}});
  ByteVector& data = run.told.back().data;
  data.insert(data.end(), event.data.begin(), event.data.end());
}

/// A mux that accepts everything, sends a little on each channel, and takes data if `takes`.
inline MuxRun run_mux(const FrameDialect& with, proto::MuxSide side, Bytes stream, std::size_t cut, bool takes) {
  using Kind = proto::MuxEvent::Kind;
  const proto::TimePoint now{proto::Duration{1'000}};
  proto::HandleSource handles;
  proto::MuxConfig config;
  config.side = side;
  proto::Mux mux(config, with.dialect(), handles, now);
  (void)mux.open("ours", false, now);
  MuxRun run;
  while (!stream.empty()) {
    const ByteVector part = cut_off(stream, cut);
    mux.feed(part, now);
    for (;;) {
      const auto event = mux.next_event(now);
      run.failed = !event.ok();
      if (run.failed) return run;
      if (!*event) break;
      note(run, **event);
      const proto::ChannelHandle channel = (*event)->channel;
      if ((*event)->kind == Kind::kRequested && mux.accept(channel, now)) mux.set_ready(channel, true);
      if ((*event)->kind == Kind::kOpened) mux.set_ready(channel, true);
      if ((*event)->kind == Kind::kData && takes) mux.consumed(channel, (*event)->data.size(), now);
    }
    FUZZ_CHECK(mux.buffered_bytes() <= mux.max_held());
    mux.flush_control();
    if (const auto turn = mux.next_sender()) {
      const std::size_t length = std::min<std::size_t>(turn->bytes, 16);
      std::fill_n(mux.prepare(turn->bytes).begin(), length, std::uint8_t{0x5a});
      mux.commit(turn->channel, length);
      mux.set_ready(turn->channel, false);
    }
    mux.output_taken();
  }
  return run;
}

/// The first byte of the input chooses the cuts, our side, and whether data is taken.
inline int run_frames(const FrameDialect& with, Bytes input) {
  if (input.size() < 2) return 0;
  const std::uint8_t choice = input[0];
  const Bytes stream = input.subspan(1);
  const std::size_t cut = 1U + choice % 32U;
  const auto side = (choice & 0x40U) != 0 ? proto::MuxSide::kServer : proto::MuxSide::kClient;
  const Pieces whole = read_frames(with, stream, stream.size());
  FUZZ_CHECK(whole == read_frames(with, stream, cut));
  for (const Piece& piece : whole.pieces) {
    if (piece.kind == FramePiece::Kind::kControl) check_objects(with, piece.body);
  }
  (void)run_mux(with, side, stream, cut, (choice & 0x80U) != 0);
  return 0;
}

}  // namespace connd::fuzz
