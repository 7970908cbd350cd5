// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/output.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>

namespace connd::tools {
namespace {

std::string hex_escape(unsigned char byte) {
  std::array<char, 5> text{};
  std::snprintf(text.data(), text.size(), "\\x%02x", byte);
  return text.data();
}

/// U+0080 to U+009F, which some terminals obey, are C2 80 to C2 9F in UTF-8.
bool is_c1_control(std::string_view text, std::size_t at) {
  if (static_cast<unsigned char>(text[at]) != 0xC2 || at + 1 >= text.size()) return false;
  const auto next = static_cast<unsigned char>(text[at + 1]);
  return next >= 0x80 && next <= 0x9F;
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

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (is_c1_control(text, i)) {
      out += hex_escape(byte) + hex_escape(static_cast<unsigned char>(text[++i]));
    } else if (byte < 0x20 || byte == 0x7F || byte == '\\') {
      out += hex_escape(byte);
    } else {
      out += text[i];
    }
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

void print_json(const ipc::Json& value) {
  const std::string line = value.dump(-1, ' ', false, ipc::Json::error_handler_t::replace);
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
