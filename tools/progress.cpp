// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/progress.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <sys/ioctl.h>

#include "tools/output.h"

namespace connd::tools {
namespace {

// A terminal that does not know its size.
constexpr std::size_t kColumns = 80;
constexpr std::size_t kLines = 24;
constexpr std::size_t kMinBar = 10;
constexpr std::size_t kMinName = 8;
constexpr std::size_t kPercentColumns = 5;
// Longer than this, a time is none.
constexpr double kMaxLeft_s = 100 * 3600.0;

/// The first `columns` of `text`, padded to them; code points stand for columns.
std::string fitted(const std::string& text, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  std::size_t at = 0;
  const auto continues = [&text](std::size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
  };
  while (at < text.size() && used < columns) {
    do out += text[at++];
    while (continues(at));
    ++used;
  }
  if (at < text.size() && used > 1) {  // cut: say so
    while (continues(out.size() - 1)) out.pop_back();
    out.back() = '>';
  }
  out.append(columns - used, ' ');
  return out;
}

double fraction(const ProgressItem& item) {
  if (item.size == 0) return 1;
  return std::min(1.0, static_cast<double>(item.done) / static_cast<double>(item.size));
}

std::string bar(const ProgressItem& item, std::size_t columns) {
  const std::size_t inner = columns - 2;
  const auto full = static_cast<std::size_t>(fraction(item) * static_cast<double>(inner));
  return "[" + std::string(full, '#') + std::string(inner - full, '-') + "]";
}

std::string padded(const std::string& text, std::size_t columns) {
  return text.size() < columns ? std::string(columns - text.size(), ' ') + text : text;
}

struct TerminalSize {
  std::size_t columns = kColumns;
  std::size_t lines = kLines;
};
TerminalSize terminal_size(int fd) {
  winsize size{};
  TerminalSize out;
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return out;
  if (size.ws_col != 0) out.columns = size.ws_col;
  if (size.ws_row != 0) out.lines = size.ws_row;
  return out;
}

}  // namespace

std::string time_left(const ProgressItem& item) {
  const double left = static_cast<double>(item.size - std::min(item.done, item.size));
  const double seconds = left > 0 ? left / item.bytes_per_second : 0;
  if (!(seconds < kMaxLeft_s)) return "-:--";
  const auto s = static_cast<unsigned>(seconds + 0.5);
  char text[32];
  if (s < 3600) {
    std::snprintf(text, sizeof text, "%u:%02u", s / 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
  }
  return text;
}

std::string progress_line(const ProgressItem& item, std::size_t columns) {
  char percent[8];
  std::snprintf(percent, sizeof percent, " %3u%%", static_cast<unsigned>(fraction(item) * 100));
  // From the most to the least needed; each is taken while there is room for a name.
  const std::string rate = "  " + padded(human_bytes(static_cast<std::uint64_t>(item.bytes_per_second)) + "/s", 10);
  const std::string left = "  " + padded(time_left(item), 5) + " left";
  const std::string bytes = "  " + padded(human_bytes(item.done), 8) + " of " + padded(human_bytes(item.size), 8);
  std::size_t used = kPercentColumns;
  const auto take = [&used, columns](const std::string& part) {
    const bool fits = used + part.size() + kMinName <= columns;
    if (fits) used += part.size();
    return fits ? part : std::string();
  };
  const std::string shown_rate = take(rate);
  const std::string shown_left = take(left);
  const std::string shown_bytes = take(bytes);
  std::size_t room = columns > used ? columns - used : 0;
  // A third for the name, the rest for the bar, if that is worth it.
  std::size_t name = std::min(room, std::max(kMinName, room / 3));
  std::string drawn;
  if (room > name + kMinBar) {
    drawn = " " + bar(item, room - name - 1);
  } else {
    name = room;
  }
  return fitted(item.name, name) + drawn + percent + shown_bytes + shown_rate + shown_left;
}

bool moves_cursor(const char* term) {
  return term != nullptr && term[0] != '\0' && std::string_view(term) != "dumb" && std::string_view(term) != "unknown";
}

Progress::Progress() {
  if (::isatty(STDERR_FILENO) == 0 || !moves_cursor(std::getenv("TERM"))) return;
  // Once more, in a non-blocking mode that no other program shares: a terminal that is stopped (^S) holds up no file.
  terminal_.reset(::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

std::optional<Progress::Clock::time_point> Progress::next() const {
  return shown() ? std::optional(next_) : std::nullopt;
}

void Progress::put(const std::string& text) {
  static_cast<void>(!::write(terminal_.get(), text.data(), text.size()));
}

void Progress::draw(std::vector<ProgressItem> items) {
  const auto now = Clock::now();
  if (!shown() || now < next_) return;
  next_ = now + kInterval;
  const TerminalSize size = terminal_size(terminal_.get());
  const std::size_t columns = size.columns - 1;
  // The cursor goes up no further than the screen: below the bars is its own line. The last one, the total, stays.
  const std::size_t most = std::max<std::size_t>(size.lines, 2) - 1;
  if (items.size() > most) items.erase(items.begin(), items.end() - static_cast<std::ptrdiff_t>(most));
  // Without wrapping (?7), whatever the terminal takes a character's width for; lines that were there are overwritten.
  std::string out = "\x1b[?7l";
  if (lines_ > 0) out += "\x1b[" + std::to_string(lines_) + "A";
  for (const auto& item : items) out += "\r\x1b[2K" + progress_line(item, columns) + "\n";
  for (std::size_t more = items.size(); more < lines_; ++more) out += "\r\x1b[2K\n";
  if (lines_ > items.size()) out += "\x1b[" + std::to_string(lines_ - items.size()) + "A";
  lines_ = items.size();
  put(out + "\x1b[?7h");
}

void Progress::hide() {
  if (lines_ == 0 || !shown()) return;
  std::string out = "\x1b[" + std::to_string(lines_) + "A\r\x1b[J";
  lines_ = 0;
  put(out);
}

}  // namespace connd::tools
