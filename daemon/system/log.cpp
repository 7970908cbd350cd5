// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>

#include "proto/utf8.h"

namespace connd::daemon {
namespace {

// By LogLevel.
constexpr std::array kLevels{spdlog::level::trace, spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                             spdlog::level::err};

// syslog(3) priorities: LOG_ERR 3, LOG_WARNING 4, LOG_INFO 6, LOG_DEBUG 7.
char journal_priority(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
    case spdlog::level::err:
      return '3';
    case spdlog::level::warn:
      return '4';
    case spdlog::level::info:
      return '6';
    default:
      return '7';
  }
}

// "%J" in a pattern.
class PriorityFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const char prefix[] = {'<', journal_priority(message.level), '>'};
    out.append(prefix, prefix + sizeof prefix);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<PriorityFlag>(); }
};

// Bytes that the lead byte announces; 1 for what cannot lead.
std::size_t length_of(std::uint8_t lead) {
  if (lead >= 0xf0) return 4;
  if (lead >= 0xe0) return 3;
  return lead >= 0xc0 ? 2 : 1;
}

// One character of UTF-8 from above ASCII that would break or reorder a line.
bool is_unsafe(std::string_view c) {
  if (c == "\xd8\x9c" || c == "\xef\xbb\xbf") return true;  // U+061C ARABIC LETTER MARK, U+FEFF
  const auto last = static_cast<std::uint8_t>(c.back());
  if (c.starts_with('\xc2')) return last < 0xa0;  // C1 controls
  if (c.starts_with("\xe2\x80"))
    return last >= 0x8b && (last <= 0x8f || (last >= 0xa8 && last <= 0xae));  // U+200B to F, U+2028 to E
  return c.starts_with("\xe2\x81") && last >= 0xa0 && last <= 0xaf;           // U+2060 to F
}

void append_hex(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
}

// What ends a quoted value, and what escapes are made of.
enum class Quotes { kEscaped, kKept };

void append_ascii(std::string& out, char c, Quotes quotes) {
  if (quotes == Quotes::kEscaped && (c == '"' || c == '\\')) {
    out += {'\\', c};
  } else if (c == '\n') {
    out += "\\n";
  } else if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7f) {
    append_hex(out, {&c, 1});
  } else {
    out += c;
  }
}

std::string escape(std::string_view text, std::size_t max_bytes, Quotes quotes) {
  std::string out;
  out.reserve(std::min(text.size(), max_bytes) + 8);
  std::size_t at = 0;
  while (at < text.size() && at < max_bytes) {
    const std::string_view c = text.substr(at, length_of(static_cast<std::uint8_t>(text[at])));
    if (c.size() == 1 && static_cast<std::uint8_t>(c[0]) < 0x80) {
      append_ascii(out, c[0], quotes);
      ++at;
    } else if (!proto::is_utf8(c)) {
      append_hex(out, c.substr(0, 1));  // the bytes behind it may be good
      ++at;
    } else {
      is_unsafe(c) ? append_hex(out, c) : static_cast<void>(out += c);
      at += c.size();
    }
  }
  if (at < text.size()) out += "...";
  return out;
}

// "%Q" in a pattern: the message, as one line that a terminal shows in order, whatever is in it. Who writes a text of
// others into a message quotes it, too (log_quote); what that has escaped is plain ASCII, and stays as it is.
class MessageFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text =
        escape({message.payload.data(), message.payload.size()}, kMaxLoggedMessageBytes, Quotes::kKept);
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<MessageFlag>(); }
};

}  // namespace

std::string log_escape(std::string_view text, std::size_t max_bytes) {
  return escape(text, max_bytes, Quotes::kEscaped);
}

std::string log_quote(std::string_view text, std::size_t max_bytes) {
  return '"' + log_escape(text, max_bytes) + '"';
}

LogFormat log_format_for(const std::string& journal_stream, int fd) {
  struct stat info {};
  if (journal_stream.empty() || ::fstat(fd, &info) != 0) return LogFormat::kPlain;
  const std::string ours = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  return ours == journal_stream ? LogFormat::kJournal : LogFormat::kPlain;
}

std::shared_ptr<spdlog::logger> make_logger(spdlog::sink_ptr sink, LogFormat format, LogLevel level) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<PriorityFlag>('J').add_flag<MessageFlag>('Q');
  formatter->set_pattern(format == LogFormat::kJournal ? "%Jlevel=%l %Q" : "time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %Q");
  sink->set_formatter(std::move(formatter));
  // Shared with spdlog's registry, which other threads log through.
  auto logger = std::make_shared<spdlog::logger>("", std::move(sink));
  logger->set_level(kLevels[static_cast<std::size_t>(level)]);
  // A crash loses nothing.
  logger->flush_on(spdlog::level::trace);
  return logger;
}

void set_up_logging(LogLevel level, const Environment& environment) {
  const LogFormat format = log_format_for(environment.get("JOURNAL_STREAM"), STDERR_FILENO);
  spdlog::set_default_logger(make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), format, level));
}

}  // namespace connd::daemon
