// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/output.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>

#include "ipc/line_codec.h"

namespace connd::tools {
namespace {

std::string hex_escape(unsigned char byte) {
  std::array<char, 5> text{};
  std::snprintf(text.data(), text.size(), "\\x%02x", byte);
  return text.data();
}

/// Bytes of the well-formed UTF-8 character at the front; 0 when there is none.
std::size_t character_bytes(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(4, text.size()); ++n) {
    if (ipc::is_utf8(text.substr(0, n))) return n;
  }
  return 0;
}

/// What a terminal would obey, not show: control characters, C1 among them (U+0080 to U+009F), and those that break a
/// line or turn the order of what follows (U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069).
bool is_obeyed(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  if (character.size() == 2) return (byte(0) == 0xC2 && byte(1) <= 0x9F) || character == "\xD8\x9C";
  if (character.size() != 3 || byte(0) != 0xE2) return false;
  if (byte(1) == 0x81) return byte(2) >= 0xA6 && byte(2) <= 0xA9;
  return byte(1) == 0x80 && (byte(2) == 0x8E || byte(2) == 0x8F || (byte(2) >= 0xA8 && byte(2) <= 0xAE));
}

/// Code points: near enough to columns of a terminal.
std::size_t width(std::string_view text) {
  const auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts));
}

void print_padded(const std::string& text, std::size_t columns) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  for (std::size_t n = width(text); n < columns; ++n) std::fputc(' ', stdout);
}

void print_row(const std::vector<std::string>& row, const std::vector<std::size_t>& widths) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    const bool last = i + 1 == row.size();
    print_padded(row[i], last ? 0 : widths[i] + 2);
  }
  std::fputc('\n', stdout);
}

}  // namespace

bool is_plain(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = character_bytes(text);
    const auto byte = static_cast<unsigned char>(text.front());
    if (n == 0 ? byte >= 0x80 && byte <= 0x9F : is_obeyed(text.substr(0, n))) return false;
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return true;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t whole = character_bytes(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(whole, 1));
    const bool shown = whole > 0 && character != "\\" && !is_obeyed(character);
    for (const char c : character) out += shown ? std::string(1, c) : hex_escape(static_cast<unsigned char>(c));
    text.remove_prefix(character.size());
  }
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::string human_age(double seconds) {
  const auto s = static_cast<std::uint64_t>(std::max(0.0, seconds));
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  if (s < 86'400) return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
  return std::to_string(s / 86'400) + " d " + std::to_string(s / 3600 % 24) + " h";
}

void print_table(const std::vector<std::string>& heading, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(heading.size());
  for (std::size_t i = 0; i < heading.size(); ++i) {
    widths[i] = width(heading[i]);
    for (const auto& row : rows) widths[i] = std::max(widths[i], width(row[i]));
  }
  print_row(heading, widths);
  for (const auto& row : rows) print_row(row, widths);
}

void print_fields(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::size_t widest = 0;
  for (const auto& [name, value] : fields) widest = std::max(widest, width(name));
  for (const auto& [name, value] : fields) {
    print_padded(name + ":", widest + 2);
    std::printf("%s\n", value.c_str());
  }
}

std::string json_text(const ipc::Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, ipc::Json::error_handler_t::replace);
}

void print_json(const ipc::Json& value) {
  const std::string line = json_text(value);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
}

bool flush_stdout() {
  const bool flushed = std::fflush(stdout) == 0;
  return flushed && std::ferror(stdout) == 0;
}

std::string cannot_write(int error) {
  return "cannot write to standard output: " + std::system_category().message(error);
}

}  // namespace connd::tools
