// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/api_page.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace connd::daemon::api {
namespace {

/// Of the line around the items: a long id, names of members.
constexpr std::size_t kLineAround = 1'024;

std::size_t text_bytes(const std::string& text) {
  std::size_t bytes = 2 + text.size();
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t') {
      bytes += 1;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      bytes += 5;  // \u0000
    }
  }
  return bytes;
}

}  // namespace

std::size_t json_bytes(const ipc::Json& value) {
  if (value.is_string()) return text_bytes(value.get_ref<const std::string&>());
  if (!value.is_structured()) return value.dump().size();
  std::size_t bytes = value.empty() ? 2 : 1 + value.size();  // brackets, and commas between
  for (const auto& [name, member] : value.items()) {
    bytes += json_bytes(member) + (value.is_object() ? text_bytes(name) + 1 : 0);
  }
  return bytes;
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
  if (read.ec != std::errc{} || read.ptr != end) {
    return ipc::make_rpc_error(ipc::kInvalidParams, "after: expected `next` of the page before");
  }
  return number;
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
