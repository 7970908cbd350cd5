// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/frame_reader.h"

#include <utility>
#include <variant>

namespace connd::proto {

Result<std::optional<FrameReader::Item>> FrameReader::next() {
  for (;;) {
    if (next_ < messages_.size()) return next_message();
    auto piece = codec_.next(in_);
    if (!piece) return piece.error();
    if (!*piece) return std::optional<Item>{};
    if ((*piece)->kind != FramePiece::Kind::kControl) return std::optional(Item{**piece});
    auto messages = dialect_.decode(**piece);
    if (!messages) return messages.error();
    messages_ = std::move(*messages);
    next_ = 0;
  }
}

std::optional<FrameReader::Item> FrameReader::next_message() {
  const std::size_t at = next_++;
  return Item{{FramePiece::Kind::kControl, kControlChannel, {}}, &messages_[at], is_announced(at)};
}

/// PROTOCOL.md 11: "`unique {c}` directly before `[name, c, false]` in the same frame asks for the channel of that
/// name; another object between them, or another id, undoes it."
bool FrameReader::is_announced(std::size_t at) const {
  if (at == 0) return false;
  const auto* unique = std::get_if<control::Unique>(&messages_[at - 1]);
  const auto* request = std::get_if<control::ChannelRequest>(&messages_[at]);
  return unique != nullptr && request != nullptr && !request->is_answer && unique->channel == request->channel;
}

}  // namespace connd::proto
