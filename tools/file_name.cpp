// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_name.h"

#include <array>
#include <cstdint>
#include <optional>

#include "proto/bytes.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

/// RFC 3986 2.3, unreserved characters: what never needs an escape.
bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

void append_escaped(std::string& out, char c) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  const auto byte = static_cast<std::uint8_t>(c);
  out += '%';
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

/// The bytes that `text` stands for; none if an escape is broken, or a character stands there that needs one.
std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return std::nullopt;
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    std::array<std::uint8_t, 1> value{};
    if (!proto::from_hex(text.substr(i + 1, 2), value)) return std::nullopt;
    out += static_cast<char>(value[0]);
    i += 2;
  }
  return out;
}

std::string segment_problem(std::string_view segment) {
  if (segment.empty()) return "a part of the name is empty";
  if (segment == "." || segment == "..") return "a name has no . or .. in it";
  if (segment.find('/') != std::string_view::npos) return "a part of the name has a / in it";
  if (segment.find('\0') != std::string_view::npos) return "a name has no NUL in it";
  if (segment.size() > kMaxSegmentBytes) return "a part of the name is longer than 255 bytes";
  return {};
}

ipc::Error bad_name(std::string text) {
  return ipc::make_error(ipc::Reason::kBadName, std::move(text));
}

}  // namespace

std::string path_problem(const FilePath& path) {
  if (path.empty()) return "the name is empty";
  if (path.size() > kMaxSegments) return "the name has more than 64 parts";
  std::size_t bytes = path.size() - 1;
  for (const auto& segment : path) {
    if (std::string problem = segment_problem(segment); !problem.empty()) return problem;
    bytes += segment.size();
  }
  if (bytes > kMaxPathBytes) return "the name is longer than 4095 bytes";
  return {};
}

std::string file_uri(const FilePath& path) {
  std::string uri(kFilePrefix);
  for (const auto& segment : path) {
    if (uri.size() > kFilePrefix.size()) uri += '/';
    for (const char c : segment) {
      if (is_unreserved(c)) {
        uri += c;
      } else {
        append_escaped(uri, c);
      }
    }
  }
  return uri;
}

ipc::Outcome<FilePath> path_of_uri(std::string_view uri) {
  if (!uri.starts_with(kFilePrefix)) return bad_name("the name does not begin with file://");
  std::string_view rest = uri.substr(kFilePrefix.size());
  FilePath path;
  for (bool more = true; more;) {
    if (path.size() == kMaxSegments) return bad_name("the name has more than 64 parts");
    const std::size_t slash = rest.find('/');
    auto segment = unescaped(rest.substr(0, slash));
    if (!segment) return bad_name("the name is not percent-encoded as it should be");
    path.push_back(std::move(*segment));
    more = slash != std::string_view::npos;
    if (more) rest.remove_prefix(slash + 1);
  }
  if (std::string problem = path_problem(path); !problem.empty()) return bad_name(std::move(problem));
  return path;
}

std::string odd_name(const FilePath& path) {
  for (const auto& segment : path) {
    if (segment.starts_with('.')) return "a part of its name begins with '.'";
    if (segment.starts_with('-')) return "a part of its name begins with '-'";
    if (!is_plain(segment)) return "its name has control characters, or such as turn the order of others";
  }
  return {};
}

std::string path_text(const FilePath& path) {
  std::string text;
  for (const auto& segment : path) {
    if (!text.empty()) text += '/';
    text += segment;
  }
  return text;
}

}  // namespace connd::tools
