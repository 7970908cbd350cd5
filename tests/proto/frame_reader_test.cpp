// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/frame_reader.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/error.h"

using namespace connd::proto;

namespace {

ByteVector frame(std::uint16_t channel, const ByteVector& body) {
  ByteVector out(NativeFrameCodec::kHeaderBytes);
  NativeFrameCodec().write_header(out.data(), channel, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

ByteVector control_frame(std::initializer_list<control::Message> messages) {
  ByteVector body;
  for (const auto& message : messages) control::encode(message, body);
  return frame(kControlChannel, body);
}

ByteVector joined(std::initializer_list<ByteVector> parts) {
  ByteVector out;
  for (const ByteVector& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

/// What it reads, in words; an error is the last one.
struct Reading {
  std::unique_ptr<Dialect> dialect = native_dialect();
  FrameReader reader{*dialect};
  std::vector<std::string> items;

  void read(Bytes bytes) {
    reader.feed(bytes);
    for (;;) {
      const auto item = reader.next();
      if (!item) return items.push_back(item.error().message());
      if (!*item) return;
      items.push_back(word(**item));
    }
  }
  static std::string word(const FrameReader::Item& item) {
    const std::string id = std::to_string(item.piece.channel);
    if (item.message == nullptr) {
      if (item.piece.kind == FramePiece::Kind::kEnd) return "end " + id;
      return "data " + id + " " + std::string(item.piece.body.begin(), item.piece.body.end());
    }
    const auto* request = std::get_if<control::ChannelRequest>(item.message);
    if (request == nullptr) return "object " + std::to_string(item.message->index());
    return (item.announced ? "unique " : "") + std::string(request->is_answer ? "accept " : "request ") + request->name;
  }
};

}  // namespace

TEST_CASE("FrameReader: data, ends and objects come in order, however the bytes are cut") {
  const ByteVector all =
      joined({frame(7, {'a', 'b'}), control_frame({control::Ping{1}, control::ChannelRequest{"x", 3, false}}),
              frame(7, {}), frame(8, {'c'})});
  const std::vector<std::string> expected{"data 7 ab", "object 5", "request x", "end 7", "data 8 c"};
  Reading at_once;
  at_once.read(all);
  CHECK(at_once.items == expected);
  // No piece of data is longer than what was fed.
  Reading by_bytes;
  for (const std::uint8_t byte : all) by_bytes.read({&byte, 1});
  CHECK(by_bytes.items ==
        std::vector<std::string>{"data 7 a", "data 7 b", "object 5", "request x", "end 7", "data 8 c"});
}

TEST_CASE("FrameReader: `unique` announces the request that stands directly behind it, of its id, in its frame") {
  const control::Unique unique{3};
  const control::ChannelRequest request{"x", 3, false}, other{"y", 4, false};
  Reading reading;
  SECTION("so") {
    reading.read(control_frame({unique, request, request}));
    CHECK(reading.items == std::vector<std::string>{"object 8", "unique request x", "request x"});
  }
  SECTION("another id") {
    reading.read(control_frame({unique, other, request}));
    CHECK(reading.items == std::vector<std::string>{"object 8", "request y", "request x"});
  }
  SECTION("another frame") {
    reading.read(joined({control_frame({unique}), control_frame({request})}));
    CHECK(reading.items == std::vector<std::string>{"object 8", "request x"});
  }
  SECTION("another object between them") {
    reading.read(control_frame({unique, control::Ping{1}, request}));
    CHECK(reading.items == std::vector<std::string>{"object 8", "object 5", "request x"});
  }
  SECTION("an accept between them, be it of that id") {
    reading.read(control_frame({unique, control::ChannelRequest{"x", 3, true}, request}));
    CHECK(reading.items == std::vector<std::string>{"object 8", "accept x", "request x"});
  }
}

TEST_CASE("FrameReader: of a control frame with a bad object nothing is read, and what came before it is") {
  ByteVector body;
  control::encode(control::Ping{1}, body);
  body.push_back(0xc1);  // begins no object
  Reading reading;
  reading.read(joined({frame(7, {'a'}), frame(kControlChannel, body)}));
  CHECK(reading.items == std::vector<std::string>{"data 7 a", make_error_code(Errc::kBadMsgpack).message()});
}
