// SPDX-License-Identifier: GPL-3.0-or-later
/// One mux, whose peer is written byte by byte.
#pragma once

#include "proto/control.h"
#include "tests/sim/mux_pair.h"

namespace connd::tests {

using namespace proto;

/// An end to which a test speaks raw bytes; hello has been exchanged.
struct RawPeer {
  TimePoint now{Duration{5'000}};
  MuxEnd end;
  ByteVector out;

  explicit RawPeer(MuxConfig config = {}, bool hello = true) : end(config, now) {
    if (hello) send(control::Hello{});
    end.flush(out);
    out.clear();
  }
  static ByteVector frame(WireId channel, Bytes body) {
    ByteVector bytes(NativeFrameCodec::kHeaderBytes);
    NativeFrameCodec().write_header(bytes.data(), channel, body.size());
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
  }
  void send(const control::Message& message) {
    ByteVector body;
    control::encode(message, body);
    end.receive(frame(kControlChannel, body));
  }
  void send_frame(WireId channel, Bytes body) { end.receive(frame(channel, body)); }
  /// All control objects that the end has sent since the last call.
  std::vector<control::Message> replies() {
    end.flush(out);
    std::vector<control::Message> all;
    NativeFrameCodec codec;
    Bytes in = out;
    for (;;) {
      auto piece = codec.next(in);
      REQUIRE(piece.ok());
      if (!*piece) break;
      if ((*piece)->kind != FramePiece::Kind::kControl) continue;
      auto messages = control::decode((*piece)->body);
      REQUIRE(messages.ok());
      all.insert(all.end(), messages->begin(), messages->end());
    }
    out.clear();
    return all;
  }
};

}  // namespace connd::tests
