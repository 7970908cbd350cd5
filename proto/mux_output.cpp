// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_output.h"

namespace connd::proto {
namespace {
/// Two targets: the frame that passes the first, and one more header.
constexpr std::size_t kOutputBound = 2 * MuxOutput::kTarget + kMaxFrameBody;
}  // namespace

MuxOutput::MuxOutput(Dialect& dialect)
    : dialect_(dialect), codec_(dialect.codec()), control_(codec_, dialect.rules.gathers), out_(kOutputBound) {}

void MuxOutput::send(const control::Message& message) {
  ByteVector object;
  encode(message, object);
  if (!object.empty()) send_group(object);
}

void MuxOutput::send_group(const ByteVector& objects) {
  // PROTOCOL.md 14: "Control bytes that wait to be sent because the peer does not read are bounded too".
  if (!control_.add(objects)) overrun_ = true;
}

MutableBytes MuxOutput::prepare(std::size_t bytes) {
  const std::size_t header = codec_.header_bytes();
  return out_.prepare(header + bytes).subspan(header);
}

void MuxOutput::commit(WireId channel, std::size_t bytes) {
  const std::size_t header = codec_.header_bytes();
  codec_.write_header(out_.prepare(header + bytes).data(), channel, bytes);
  out_.commit(header + bytes);
}

}  // namespace connd::proto
