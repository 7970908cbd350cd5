// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/line_codec.h"

#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd;
using ipc::LineCodec;

namespace {

/// What a codec says about `bytes` when they come in pieces of `piece` bytes: one string per line or error.
std::vector<std::string> decode(const std::string& bytes, std::size_t piece, std::size_t max_line,
                                std::optional<ipc::RequestWalker> walker = std::nullopt) {
  LineCodec codec(max_line, walker);
  std::vector<std::string> out;
  bool failed = false;
  for (std::size_t at = 0; at < bytes.size() && !failed; at += piece) {
    codec.feed(proto::as_bytes(std::string_view(bytes).substr(at, piece)));
    for (bool more = true; more;) {
      const auto outcome = codec.next();
      more = !std::holds_alternative<LineCodec::NeedMore>(outcome);
      if (const auto* line = std::get_if<LineCodec::Line>(&outcome)) out.emplace_back(line->text);
      if (const auto* error = std::get_if<LineCodec::Error>(&outcome)) {
        out.push_back("error " + std::to_string(static_cast<int>(*error)));
        failed = *error == LineCodec::Error::kTooLong;
        more = more && !failed;
      }
    }
  }
  if (codec.holds_part()) out.emplace_back("part");
  return out;
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("lines come out as they went in, however they are cut") {
  const std::string nul("a\0b\n", 4);
  const std::string bytes = "one\n\ntwo \xC3\xA9\n" + nul + "bad \xC0\x80\nthree\n1234567890\nrest";
  const Strings expected = {"one", "", "two \xC3\xA9", "error 1", "error 2", "three", "1234567890", "part"};
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    INFO(piece);
    CHECK(decode(bytes, piece, 10) == expected);
  }
}

TEST_CASE("a line over the bound is a final error, with or without its LF") {
  const Strings expected = {"ok", "error 0"};
  for (const std::string tail : {"", "\n", "90\nmore\n"}) {
    const std::string bytes = "ok\n12345678901" + tail;
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) CHECK(decode(bytes, piece, 10) == expected);
  }
  LineCodec codec(10);
  codec.feed(proto::as_bytes("12345678901"));
  CHECK(std::get<LineCodec::Error>(codec.next()) == LineCodec::Error::kTooLong);
  CHECK(std::get<LineCodec::Error>(codec.next()) == LineCodec::Error::kTooLong);
  CHECK(codec.room() == 0);
  CHECK_FALSE(codec.holds_part());
}

TEST_CASE("fault C1: a line that the walker refuses is told at once, once, and skipped, however it is cut") {
  std::string arrays = "[[]";
  for (std::size_t i = 0; i < 2 * ipc::kMaxRequestElements; ++i) arrays += ",[]";
  const std::string bytes = "one\n" + arrays + "]\ntwo\n" + arrays + std::string("\0\n", 2) + "three\n" + arrays;
  const Strings expected = {"one", "error 3", "two", "error 3", "three", "error 3", "part"};
  for (std::size_t piece = 1; piece <= bytes.size(); piece += 1 + piece / 16) {
    INFO(piece);
    CHECK(decode(bytes, piece, ipc::kMaxLineBytes, ipc::RequestWalker(false)) == expected);
  }
  // What is skipped has a bound as well, and that is final.
  const std::string endless = "one\n" + arrays + std::string(2'000, 'x') + "\ntwo\n";
  for (std::size_t piece = 1; piece <= endless.size(); piece += 1 + piece / 16) {
    INFO(piece);
    CHECK(decode(endless, piece, 3'000, ipc::RequestWalker(false)) == Strings{"one", "error 3", "error 0"});
  }
}

TEST_CASE("fault C1: of a refused line nothing is kept") {
  LineCodec codec(ipc::kMaxLineBytes, ipc::RequestWalker(false));
  const std::string part(ipc::kReadChunkBytes, '{');
  codec.feed(proto::as_bytes(part));
  CHECK(std::get<LineCodec::Error>(codec.next()) == LineCodec::Error::kRefused);
  for (int i = 0; i < 10; ++i) {
    CHECK(std::holds_alternative<LineCodec::NeedMore>(codec.next()));
    CHECK(codec.room() == ipc::kMaxLineBytes + 1 + ipc::kReadChunkBytes);
    CHECK(codec.holds_part());
    codec.feed(proto::as_bytes(part));
  }
}

TEST_CASE("the real bound: 1 MiB passes, one byte more does not") {
  const std::string longest(ipc::kMaxLineBytes, 'x');
  CHECK(decode(longest + "\n", ipc::kReadChunkBytes, ipc::kMaxLineBytes) == Strings{longest});
  CHECK(decode(longest + "x\n", ipc::kReadChunkBytes, ipc::kMaxLineBytes) == Strings{"error 0"});
}

TEST_CASE("a drained codec always has room for a whole read") {
  LineCodec codec(100);
  codec.feed(proto::as_bytes(std::string(100, 'x')));
  CHECK(std::holds_alternative<LineCodec::NeedMore>(codec.next()));
  CHECK(codec.room() >= ipc::kReadChunkBytes);
}

TEST_CASE("bytes may be put in place") {
  LineCodec codec(100);
  auto space = codec.prepare(8);
  std::copy_n("hi\n", 3, space.begin());
  codec.commit(3);
  CHECK(std::get<LineCodec::Line>(codec.next()).text == "hi");
  CHECK(std::holds_alternative<LineCodec::NeedMore>(codec.next()));
}

TEST_CASE("UTF-8 as RFC 3629 has it") {
  for (const char* good : {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    INFO(good);
    CHECK(ipc::is_utf8(good));
  }
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2 ", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE1\x80", "\xE1\x80 ",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xFE", "\xF0\x90\x80"}) {
    INFO(bad);
    CHECK_FALSE(ipc::is_utf8(bad));
  }
}
