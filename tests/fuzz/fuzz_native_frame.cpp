// SPDX-License-Identifier: GPL-3.0-or-later
/// Our own dialect from anyone: frames, control objects, and the mux that is given them (frame_target.h).
#include "proto/control.h"
#include "tests/fuzz/frame_target.h"

using namespace connd::proto;

namespace {

ByteVector as_frame(const control::Message& message) {
  ByteVector body;
  control::encode(message, body);
  if (body.empty() || body.size() > kMaxFrameBody) return body;
  ByteVector out(NativeFrameCodec::kHeaderBytes);
  NativeFrameCodec().write_header(out.data(), 0, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const connd::fuzz::FrameDialect native{
      []() -> std::unique_ptr<FrameCodec> { return std::make_unique<NativeFrameCodec>(); }, control::decode, as_frame,
      native_dialect};
  return connd::fuzz::run_frames(native, {data, size});
}
