// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/request_walker.h"

#include <algorithm>
#include <array>

namespace connd::ipc {
namespace {

/// Longest token that is kept: an id with each byte escaped as \u00XX, and its quotes. What is longer is nobody's.
constexpr std::size_t kMaxToken = 6 * kMaxIdBytes + 2;

/// Bytes at the front that neither end a string nor escape something.
std::size_t plain_length(std::string_view bytes) {
  const auto special = [](char c) { return c == '"' || c == '\\'; };
  return static_cast<std::size_t>(std::find_if(bytes.begin(), bytes.end(), special) - bytes.begin());
}

struct Long {
  std::string_view method;
  std::size_t bytes;
  bool administrators;
};
constexpr std::array kLong = {
    Long{"channel.open", kMaxNameLineBytes, false}, Long{"listen.add", kMaxNameLineBytes, false},
    Long{"identity.sign", kMaxPemLineBytes, true},  Long{"identity.import", kMaxPemLineBytes, true},
    Long{"crl.add", kMaxLineBytes, true},
};

}  // namespace

std::size_t max_request_bytes(std::string_view method, bool administrator) {
  for (const Long& one : kLong) {
    if (one.method == method && (administrator || !one.administrators)) return one.bytes;
  }
  return kMaxPlainLineBytes;
}

void RequestWalker::reset() {
  verdict_ = Verdict::kGood;
  bytes_ = depth_ = elements_ = 0;
  bound_ = kMaxPlainLineBytes;
  in_string_ = escaped_ = key_ = false;
  member_ = Member::kOther;
  token_.clear();
  id_.clear();
}

RequestWalker::Verdict RequestWalker::feed(std::string_view bytes) {
  while (!bytes.empty() && verdict_ == Verdict::kGood) {
    // The inside of a long string, which is most of a long line, in one go.
    if (in_string_ && !escaped_ && !outermost()) {
      const std::size_t plain = plain_length(bytes.substr(0, bound_ - bytes_));
      bytes_ += plain;
      bytes.remove_prefix(plain);
      if (bytes.empty()) break;
    }
    if (++bytes_ > bound_) {
      verdict_ = Verdict::kTooLong;
      break;
    }
    step(bytes.front());
    bytes.remove_prefix(1);
  }
  return verdict_;
}

void RequestWalker::step(char c) {
  if (in_string_) return in_string(c);
  switch (c) {
    case '"':
      in_string_ = true;
      if (outermost()) token_.assign(1, c);
      return;
    case '{':
    case '[':
      return deeper();
    case '}':
    case ']':
      if (outermost()) end_value();
      if (depth_ > 0) --depth_;
      return;
    case ',':
      if (outermost()) {
        end_value();
        key_ = true;
        member_ = Member::kOther;
      }
      if (++elements_ > kMaxRequestElements) verdict_ = Verdict::kTooMany;
      return;
    case ':':
      if (!outermost()) return;
      key_ = false;
      token_.clear();
      return;
    case ' ':
    case '\t':
    case '\r':
      return;
    default:  // of a number or a word
      if (outermost() && token_.size() < kMaxToken) token_ += c;
  }
}

void RequestWalker::in_string(char c) {
  if (outermost() && token_.size() < kMaxToken) token_ += c;
  if (escaped_) {
    escaped_ = false;
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
    if (outermost()) end_string();
  }
}

/// A name of the outermost object, or a value of it. As it is written: a name with escapes in it is none that we know.
void RequestWalker::end_string() {
  if (key_) {
    member_ = token_ == "\"method\"" ? Member::kMethod : token_ == "\"id\"" ? Member::kId : Member::kOther;
  } else if (member_ == Member::kMethod) {
    bound_ = max_request_bytes(std::string_view(token_).substr(1, token_.size() - 2), administrator_);
    // The method came late: what is there already counts.
    if (bytes_ > bound_) verdict_ = Verdict::kTooLong;
  }
}

void RequestWalker::end_value() {
  if (member_ == Member::kId && !key_ && token_.size() < kMaxToken) id_ = token_;
}

void RequestWalker::deeper() {
  if (outermost()) token_.clear();
  if (++elements_ > kMaxRequestElements) verdict_ = Verdict::kTooMany;
  if (++depth_ > kMaxNesting) verdict_ = Verdict::kTooDeep;
  key_ = depth_ == 1;
}

}  // namespace connd::ipc
