// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/log.h"

#include <unistd.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include <catch2/catch.hpp>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/stat.h>

#include "proto/utf8.h"

using namespace connd;
using namespace connd::daemon;

namespace {

std::string logged(LogFormat format, LogLevel least, spdlog::level::level_enum level, const std::string& text) {
  std::ostringstream out;
  make_logger(std::make_shared<spdlog::sinks::ostream_sink_st>(out), format, least)->log(level, text);
  return out.str();
}

}  // namespace

TEST_CASE("what a peer wrote cannot break, colour or reorder a log line") {
  const std::pair<std::string, std::string> rows[] = {
      {"file://file1", "file://file1"},
      {"", ""},
      {"a\nb\r\t", "a\\nb\\x0d\\x09"},
      {std::string("a\0b", 3), "a\\x00b"},
      {"\x1b[31mred\x7f", "\\x1b[31mred\\x7f"},
      {"say \"hi\" \\", "say \\\"hi\\\" \\\\"},
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
      {"\xff\xc3", "\\xff\\xc3"},
      {"\xc3(", "\\xc3("},
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},  // a surrogate
      {"\xc2\x9b"
       "1m",
       "\\xc2\\x9b"
       "1m"},                               // C1: CSI
      {"\xe2\x80\xae", "\\xe2\\x80\\xae"},  // right-to-left override
      {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},  // line separator
      {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},  // isolate
      {"\xd8\x9c", "\\xd8\\x9c"},
      {"\xef\xbb\xbf", "\\xef\\xbb\\xbf"},
      {"\xe2\x80\xa6", "\xe2\x80\xa6"}};  // an ellipsis is fine
  for (const auto& [text, escaped] : rows) {
    CHECK(log_escape(text) == escaped);
    CHECK(log_quote(text) == '"' + escaped + '"');
  }
}

TEST_CASE("every byte alone, and every two, come out as printable UTF-8") {
  for (int i = 0; i < 65536; ++i) {
    const std::string text{static_cast<char>(i >> 8), static_cast<char>(i & 255)};
    const std::string out = log_escape(text);
    const bool printable =
        std::all_of(out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
    if (!printable || !proto::is_utf8(out)) FAIL(i);
  }
}

TEST_CASE("long texts are cut between characters") {
  CHECK(log_escape(std::string(65'000, 'a')) == std::string(kMaxLoggedBytes, 'a') + "...");
  CHECK(log_escape("abc", 3) == "abc");
  CHECK(log_escape("ab\xc3\xa9", 3) == "ab\xc3\xa9");
  CHECK(log_escape("ab\xc3\xa9"
                   "c",
                   3) == "ab\xc3\xa9...");
}

TEST_CASE("a line has time, level and message; for the journal it has its priority") {
  const std::string plain = logged(LogFormat::kPlain, LogLevel::kInfo, spdlog::level::warn, "event=x n=1");
  CHECK(std::regex_match(
      plain, std::regex(R"(time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d level=warning event=x n=1\n)")));
  using spdlog::level::level_enum;
  const std::pair<level_enum, char> priorities[] = {{level_enum::critical, '3'}, {level_enum::err, '3'},
                                                    {level_enum::warn, '4'},     {level_enum::info, '6'},
                                                    {level_enum::debug, '7'},    {level_enum::trace, '7'}};
  for (const auto& [level, priority] : priorities) {
    const std::string line = logged(LogFormat::kJournal, LogLevel::kTrace, level, "event=x");
    CHECK(line.find(std::string("<") + priority + ">level=") == 0);
    CHECK(line.ends_with(" event=x\n"));
  }
}

TEST_CASE("fault C2: a line is one line, printable and in order, whatever is in the message") {
  const std::string begin = "level=warning client=1 name=";
  const std::pair<std::string, std::string> rows[] = {
      {"x\"\ntime=2026-11-30T08:00:00.000+00:00 level=error forged",
       "x\"\\ntime=2026-11-30T08:00:00.000+00:00 level=error forged"},
      {"a\r\x1b[2J\x7f", "a\\x0d\\x1b[2J\\x7f"},
      {std::string("a\0b", 3), "a\\x00b"},
      {"\xff\xc3(", "\\xff\\xc3("},
      {"\xe2\x80\xaegnp.exe\xe2\x81\xa6", "\\xe2\\x80\\xaegnp.exe\\xe2\\x81\\xa6"},
      {"\xc2\x9b"
       "31m\xe2\x80\xa8",
       "\\xc2\\x9b"
       "31m\\xe2\\x80\\xa8"},
      {"\xc3\xa9 \\ \"ok\"", "\xc3\xa9 \\ \"ok\""}};
  for (const auto& [text, shown] : rows) {
    for (const LogFormat format : {LogFormat::kPlain, LogFormat::kJournal}) {
      const std::string line = logged(format, LogLevel::kInfo, spdlog::level::warn, "client=1 name=" + text);
      CHECK(line.ends_with(begin + shown + "\n"));
      CHECK(std::count(line.begin(), line.end(), '\n') == 1);
      // What was quoted is escaped already: once is enough.
      const std::string quoted =
          logged(format, LogLevel::kInfo, spdlog::level::warn, "client=1 name=" + log_quote(text));
      CHECK(quoted.ends_with(begin + log_quote(text) + "\n"));
    }
  }
  const std::string huge =
      logged(LogFormat::kJournal, LogLevel::kInfo, spdlog::level::warn, std::string(1'000'000, 'x'));
  CHECK(huge.size() < kMaxLoggedMessageBytes + 64);
}

TEST_CASE("lines below the level are not written") {
  CHECK(logged(LogFormat::kPlain, LogLevel::kWarn, spdlog::level::info, "x").empty());
  CHECK(!logged(LogFormat::kPlain, LogLevel::kWarn, spdlog::level::warn, "x").empty());
  CHECK(logged(LogFormat::kPlain, LogLevel::kError, spdlog::level::warn, "x").empty());
  CHECK(!logged(LogFormat::kPlain, LogLevel::kTrace, spdlog::level::trace, "x").empty());
}

TEST_CASE("the journal is recognised by the very stream it gave") {
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  struct stat info {};
  REQUIRE(fstat(fds[1], &info) == 0);
  const std::string stream = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  CHECK(log_format_for(stream, fds[1]) == LogFormat::kJournal);
  CHECK(log_format_for(stream + "1", fds[1]) == LogFormat::kPlain);
  CHECK(log_format_for("", fds[1]) == LogFormat::kPlain);
  CHECK(log_format_for("junk", fds[1]) == LogFormat::kPlain);
  CHECK(log_format_for(stream, -1) == LogFormat::kPlain);
  close(fds[0]);
  close(fds[1]);
}
