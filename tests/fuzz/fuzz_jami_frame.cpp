// SPDX-License-Identifier: GPL-3.0-or-later
/// Jami's dialect from anyone (frame_target.h).
#include "proto/jami_frame.h"
#include "tests/fuzz/frame_target.h"

using namespace connd::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const connd::fuzz::FrameDialect jami{
      []() -> std::unique_ptr<FrameCodec> { return std::make_unique<JamiFrameCodec>(); }, jami::decode,
      [](const control::Message& message) {
        ByteVector out;
        jami::encode(message, out);
        return out;
      },
      jami_dialect};
  return connd::fuzz::run_frames(jami, {data, size});
}
