// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/output.h"

#include <catch2/catch.hpp>

using connd::tools::json_text;
using connd::tools::printable;

TEST_CASE("a terminal shows text as it is, and obeys none of it") {
  CHECK(printable("") == "");
  CHECK(printable("plain, \xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82") == "plain, \xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82");
  CHECK(printable("a\\b") == R"(a\x5cb)");
  CHECK(printable("\x1B[2J\n\x7F") == R"(\x1b[2J\x0a\x7f)");
  CHECK(printable("\xC2\x9B 2J") == R"(\xc2\x9b 2J)");
  CHECK(printable("\xC2\xA0") == "\xC2\xA0");
}

TEST_CASE("bytes that are no UTF-8 are told apart") {
  CHECK(printable("\xFFz") == R"(\xffz)");
  CHECK(printable("\xE2\x82") == R"(\xe2\x82)");
  CHECK(printable("\xC0\xAF") == R"(\xc0\xaf)");
  CHECK(printable("\xED\xA0\x80") == R"(\xed\xa0\x80)");
}

TEST_CASE("what turns the order of text, or breaks its line, is escaped") {
  CHECK(printable("gpj\xE2\x80\xAE.exe") == R"(gpj\xe2\x80\xae.exe)");
  CHECK(printable("\xE2\x80\x8F") == R"(\xe2\x80\x8f)");
  CHECK(printable("\xE2\x80\xA8") == R"(\xe2\x80\xa8)");
  CHECK(printable("\xE2\x81\xA6") == R"(\xe2\x81\xa6)");
  CHECK(printable("\xD8\x9C") == R"(\xd8\x9c)");
  CHECK(printable("\xD8\x9B") == "\xD8\x9B");
  CHECK(printable("\xE2\x81\xAA") == "\xE2\x81\xAA");
  CHECK(printable("\xE2\x80\xA7") == "\xE2\x80\xA7");
}

TEST_CASE("JSON is ASCII, and the same text to who parses it") {
  const std::string text = "\x7F\xC2\x9B\xD8\x9C\xE2\x80\xAE\xF0\x9F\x99\x82\n";
  const connd::ipc::Json value = {{"a", {text}}};
  CHECK(json_text(value) == R"({"a":["\u007f\u009b\u061c\u202e\ud83d\ude42\n"]})");
  CHECK(connd::ipc::Json::parse(json_text(value)) == value);
  CHECK(json_text({{text, 1}}) == R"({"\u007f\u009b\u061c\u202e\ud83d\ude42\n":1})");
  CHECK(json_text("\xFF") == R"("\ufffd")");
}
