// SPDX-License-Identifier: GPL-3.0-or-later
/// Outcome<T>: a value, or a Failure whose text a person can act on.
///
/// For what touches the machine that we run on (files, options, limits), where the error code alone does not say which
/// file and what to do. The data path has proto::Result.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

namespace connd::daemon {

struct Failure {
  std::error_code code;  ///< what kind of failure; never "no error"
  std::string text;      ///< one line without a full stop: what failed, where, and what to do
};

/// A failure of the operating system: "PATH: WHAT: strerror(error)", and a hint for the usual errors.
Failure system_failure(int error, const std::string& path, const std::string& what);
/// A failure that errno does not describe: std::errc and text.
inline Failure failure(std::errc code, std::string text) {
  return {std::make_error_code(code), std::move(text)};
}
/// What somebody wrote or asked for cannot be so.
inline Failure invalid(std::string text) {
  return failure(std::errc::invalid_argument, std::move(text));
}

template <class T>
class [[nodiscard]] Outcome {
 public:
  // Implicit on purpose: `return value;` and `return failure(…);` are how functions end.
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}    // NOLINT(*-explicit-*)
  Outcome(Failure why) : state_(std::in_place_index<1>, std::move(why)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& { return const_cast<Outcome*>(this)->value(); }
  T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  /// Only of an Outcome that is not ok.
  [[nodiscard]] const Failure& failure() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Failure> state_;
};

template <>
class [[nodiscard]] Outcome<void> {
 public:
  Outcome() = default;
  Outcome(Failure why) : failure_(std::move(why)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return !failure_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Failure& failure() const {
    assert(!ok());
    return *failure_;
  }

 private:
  std::optional<Failure> failure_;
};

}  // namespace connd::daemon
