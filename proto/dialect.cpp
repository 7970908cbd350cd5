// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dialect.h"

#include "proto/jami_frame.h"

namespace connd::proto {
namespace {

class NativeDialect final : public Dialect {
 public:
  NativeDialect()
      : Dialect({.hello = true,
                 .credit = true,
                 .half_close = true,
                 .resets = true,
                 .id_halves = true,
                 .gathers = true,
                 .known_ids = true}) {}
  FrameCodec& codec() override { return codec_; }
  Result<std::vector<control::Message>> decode(const FramePiece& piece) override { return control::decode(piece.body); }
  void encode(const control::Message& message, ByteVector& out) override { control::encode(message, out); }

 private:
  NativeFrameCodec codec_;
};

class JamiDialect final : public Dialect {
 public:
  JamiDialect() : Dialect({}) {}
  FrameCodec& codec() override { return codec_; }
  Result<std::vector<control::Message>> decode(const FramePiece& piece) override { return jami::decode(piece.body); }
  void encode(const control::Message& message, ByteVector& out) override { jami::encode(message, out); }

 private:
  JamiFrameCodec codec_;
};

}  // namespace

std::unique_ptr<Dialect> native_dialect() {
  return std::make_unique<NativeDialect>();
}

std::unique_ptr<Dialect> jami_dialect() {
  return std::make_unique<JamiDialect>();
}

}  // namespace connd::proto
