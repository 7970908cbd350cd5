// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/api_page.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>

namespace connd::daemon::api {
namespace {

/// Of the line around the items: a long id, names of members.
constexpr std::size_t kLineAround = 1'024;

/// What each byte of a text takes more than itself: a backslash, or \u and four digits.
constexpr std::array<std::uint8_t, 256> kEscape = [] {
  std::array<std::uint8_t, 256> more{};
  for (std::size_t c = 0; c < 0x20; ++c) more[c] = 5;
  for (const char c : {'"', '\\', '\b', '\f', '\n', '\r', '\t'}) more[static_cast<unsigned char>(c)] = 1;
  return more;
}();

std::size_t text_bytes(const std::string& text) {
  std::size_t bytes = 2 + text.size();
  for (const char c : text) bytes += kEscape[static_cast<unsigned char>(c)];
  return bytes;
}

template <class Number>
std::size_t number_bytes(Number number) {
  std::array<char, 24> digits;
  return static_cast<std::size_t>(std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr -
                                  digits.data());
}

}  // namespace

std::size_t json_bytes(const ipc::Json& value) {
  using Type = ipc::Json::value_t;
  std::size_t bytes = 1 + std::max<std::size_t>(value.size(), 1);  // brackets, and commas between
  switch (value.type()) {
    case Type::string:
      return text_bytes(value.get_ref<const std::string&>());
    case Type::number_integer:
      return number_bytes(value.get_ref<const std::int64_t&>());
    case Type::number_unsigned:
      return number_bytes(value.get_ref<const std::uint64_t&>());
    case Type::array:
      for (const auto& member : value) bytes += json_bytes(member);
      return bytes;
    case Type::object:
      for (auto it = value.begin(); it != value.end(); ++it) bytes += text_bytes(it.key()) + 1 + json_bytes(*it);
      return bytes;
    default:
      return value.dump().size();
  }
}

Page::Page(const ipc::PageParams& params)
    : paged_(params.limit || params.after),
      limit_(paged_ ? std::min<std::size_t>(params.limit.value_or(ipc::kMaxPageItems), ipc::kMaxPageItems)
                    : std::numeric_limits<std::size_t>::max()),
      after_(params.after.value_or("")) {}

ipc::Outcome<std::uint64_t> Page::after_number() const {
  std::uint64_t number = 0;
  if (after_.empty()) return number;
  const char* const end = after_.data() + after_.size();
  const auto read = std::from_chars(after_.data(), end, number);
  if (read.ec != std::errc{} || read.ptr != end) return bad_key();
  return number;
}

ipc::Error Page::bad_key() {
  return ipc::make_rpc_error(ipc::kInvalidParams, "after: expected `next` of the page before");
}

bool Page::add(ipc::Json item, const std::string& key) {
  const std::size_t most = paged_ ? kMaxBytes : ipc::kMaxLineBytes - kLineAround;
  full_ = full_ || items_.size() >= limit_ || (paged_ && bytes_ >= most);
  if (full_) return false;
  bytes_ += json_bytes(item) + 1;
  if (!paged_ && bytes_ > most) {
    full_ = true;
    return false;
  }
  items_.push_back(std::move(item));
  last_ = key;
  return true;
}

ipc::Outcome<ipc::Json> Page::result(const char* member) && {
  if (full_ && !paged_) {
    return ipc::make_error(ipc::Reason::kResourceLimit,
                           "the list does not fit into a line of 1 MiB: ask for it in pages (limit, after)");
  }
  ipc::Json out = {{member, std::move(items_)}};
  if (full_) out["next"] = last_;
  return out;
}

}  // namespace connd::daemon::api
