// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// RequestWalker: looks at a request's bytes as they come, before anything is built of them, and says where they pass
/// what any request needs: so a line that no method could want costs one look at its first bytes.
///
/// It knows brackets, commas, strings, and the members `method` and `id` of the outermost object; whether the line is
/// JSON is the parser's to say. What it says depends on the bytes, not on how they were cut. No I/O, no thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ipc/limits.h"

namespace connd::ipc {

/// Longest line of a request for this method; kMaxPlainLineBytes for one that is unknown, and for an administrator's
/// method when the client is none.
[[nodiscard]] std::size_t max_request_bytes(std::string_view method, bool administrator);

class RequestWalker {
 public:
  enum class Verdict {
    kGood,
    kTooDeep,  ///< more than kMaxNesting
    kTooMany,  ///< more than kMaxRequestElements
    kTooLong,  ///< for its method, or for a line whose method has not come
  };

  explicit RequestWalker(bool administrator) : administrator_(administrator) {}

  /// The next bytes of one line, without its LF. After another verdict than kGood it is the same for ever.
  Verdict feed(std::string_view bytes);
  /// A new line begins.
  void reset();
  [[nodiscard]] Verdict verdict() const { return verdict_; }
  /// The value of `id` as JSON, if it came whole and before the verdict; else empty. It may be no legal id.
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] std::size_t bound() const { return bound_; }

 private:
  enum class Member { kOther, kMethod, kId };
  void step(char c);
  void in_string(char c);
  void end_string();
  void end_value();
  void deeper();
  [[nodiscard]] bool outermost() const { return depth_ == 1; }

  const bool administrator_;
  Verdict verdict_ = Verdict::kGood;
  std::size_t bytes_ = 0;
  std::size_t bound_ = kMaxPlainLineBytes;
  std::size_t depth_ = 0;
  std::size_t elements_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
  bool key_ = false;  ///< a string of the outermost object would be a member's name
  Member member_ = Member::kOther;
  std::string token_;  ///< of the outermost object's names, method and id; cut
  std::string id_;
};

}  // namespace connd::ipc
