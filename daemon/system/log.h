// SPDX-License-Identifier: GPL-3.0-or-later
/// Logs: one line of key=value pairs an event, on stderr, through spdlog's default logger.
///
/// `spdlog::info("event=connection-up peer={} path={}", peer.hex(), log_quote(path))`. A line is one event, whatever is
/// in a message: line ends, control bytes and the like are escaped where lines are made. Whatever a peer or a client
/// can choose (names, texts, candidates) goes through log_quote, so that it ends where it seems to. Keys, ICE passwords
/// and payload are never logged.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

#include "daemon/system/environment.h"
#include "daemon/system/log_level.h"

namespace connd::daemon {

/// Texts longer than this are cut where they are logged: names may have 65,000 bytes, and every peer may choose them.
inline constexpr std::size_t kMaxLoggedBytes = 256;

/// And so are messages: what is logged of a peer or a client is a small part of one.
inline constexpr std::size_t kMaxLoggedMessageBytes = 8'192;

/// Printable UTF-8 on one line: control characters, quotes, backslashes, bytes that are not UTF-8, and characters that
/// reorder or break a line on a terminal (C1 controls, U+2028 and U+2029, bidirectional controls) become \n, \", \\ or
/// \xNN for each byte. At most `max_bytes` of the text, and then "...".
std::string log_escape(std::string_view text, std::size_t max_bytes = kMaxLoggedBytes);
/// The same between double quotes: the value of a key=value pair, whatever is in it.
std::string log_quote(std::string_view text, std::size_t max_bytes = kMaxLoggedBytes);

enum class LogFormat {
  kPlain,    ///< time=… level=… message
  kJournal,  ///< <N>message, N as in sd-daemon(3): journald adds the time and takes the level
};

/// kJournal when $JOURNAL_STREAM (systemd.exec) names the very file that `fd` is.
LogFormat log_format_for(const std::string& journal_stream, int fd);

/// A logger of that form on any sink; for set_up_logging and tests.
std::shared_ptr<spdlog::logger> make_logger(spdlog::sink_ptr sink, LogFormat format, LogLevel level);

/// Makes spdlog's default logger write to stderr. At start, and again to change the level; on the loop's thread.
/// Logging itself may be done on any thread.
void set_up_logging(LogLevel level, const Environment& environment);

}  // namespace connd::daemon
