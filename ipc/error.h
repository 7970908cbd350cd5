// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Errors of the local API as values: Error is what travels in a JSON-RPC error object, Outcome<T> is a value or one.
///
/// proto::Result has a bare std::error_code; an error of the API also has a text that was made for this one case.
#pragma once

#include <string>

#include "proto/reason.h"
#include "proto/result.h"

namespace connd::ipc {

using proto::Reason;

/// Codes that JSON-RPC 2.0 (section 5.1) reserves. All others here are `code_of(reason)`.
inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParams = -32602;

/// The stable JSON-RPC code of a reason, inside the range left to servers (-32000 to -32099).
constexpr int code_of(Reason reason) {
  return -32000 - static_cast<int>(reason);
}

struct Error {
  int code = code_of(Reason::kInternal);
  Reason reason = Reason::kInternal;
  bool retryable = false;  ///< the same call may succeed later without anyone changing its arguments
  std::string message;     ///< one clause for people; no newline
  std::string peer;        ///< device id that it concerns, or empty
  std::string detail;      ///< more about this one case, or empty

  /// Exit code of a command that ends with this error: never 0.
  [[nodiscard]] int exit_code() const;
  friend bool operator==(const Error&, const Error&) = default;
};

/// An error for `reason`, with the table's text if `message` is empty.
Error make_error(Reason reason, std::string message = {}, std::string detail = {});
/// One of the four codes of JSON-RPC itself; its reason is invalid-argument.
Error make_rpc_error(int code, std::string message);

/// A value or an Error; Outcome<void> is success or one.
template <class T>
using Outcome = proto::ValueOr<T, Error>;

}  // namespace connd::ipc
