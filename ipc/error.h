// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Errors of the local API as values: Error is what travels in a JSON-RPC error object, Outcome<T> is a value or one.
///
/// proto::Result carries a bare std::error_code; an API error also has a text that was made for this one case.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

#include "proto/reason.h"

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

/// Value or Error. Looking at the wrong half is the caller's bug and asserts.
template <class T>
class [[nodiscard]] Outcome {
 public:
  // Implicit on purpose: `return value;` and `return make_error(…);` are how functions end.
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*-explicit-*)
  Outcome(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

/// Success or Error.
template <>
class [[nodiscard]] Outcome<void> {
 public:
  Outcome() = default;
  Outcome(Error error) : failed_(true), error_(std::move(error)) {}  // NOLINT(*-explicit-*)
  [[nodiscard]] bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    assert(failed_);
    return error_;
  }

 private:
  bool failed_ = false;
  Error error_;
};

}  // namespace connd::ipc
