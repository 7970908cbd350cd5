// SPDX-License-Identifier: GPL-3.0-or-later
/// Page: the answer of a method that lists, item by item: all of the list, as long as it fits into a line; or, for who
/// asks for that, a page of it, which says where the next one begins.
///
/// A page is bounded in items and in bytes, so that making one holds nobody up. Pages go by the items' own keys: what
/// is there from the first page to the last is shown once, whatever comes and goes meanwhile.
#pragma once

#include <optional>
#include <string>

#include "ipc/api.h"

namespace connd::daemon::api {

/// Bytes of `value` as JSON, without making it.
[[nodiscard]] std::size_t json_bytes(const ipc::Json& value);

class Page {
 public:
  /// Bytes of a page's items, the last of which may pass it: with the longest name, written with escapes, it fits into
  /// a line by far.
  static constexpr std::size_t kMaxBytes = std::size_t{128} << 10;

  explicit Page(const ipc::PageParams& params);

  /// Items behind this key alone, in the order of keys; empty: from the first on.
  [[nodiscard]] const std::string& after() const { return after_; }
  /// The same of a list whose keys are numbers from 1 on. Error: it is none.
  [[nodiscard]] ipc::Outcome<std::uint64_t> after_number() const;
  /// The next item, and its key. False: there is no place for it, nor for another; result() says so.
  bool add(ipc::Json item, const std::string& key);
  bool add(ipc::Json item, std::uint64_t key) { return add(std::move(item), std::to_string(key)); }
  /// `after` is no `next` of the page before.
  [[nodiscard]] static ipc::Error bad_key();
  /// As many items as can be of use: one more than a page has says whether there is another.
  [[nodiscard]] std::size_t most_looked_at() const { return paged_ ? limit_ + 1 : limit_; }
  /// {`member`: the items, `next`: if there is another page}. Error: the whole list does not fit into a line.
  [[nodiscard]] ipc::Outcome<ipc::Json> result(const char* member) &&;

 private:
  const bool paged_;
  const std::size_t limit_;
  const std::string after_;
  ipc::Json items_ = ipc::Json::array();
  std::size_t bytes_ = 0;
  std::string last_;  ///< key of the last item
  bool full_ = false;
};

}  // namespace connd::daemon::api
