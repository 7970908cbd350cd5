// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Result<T>: a value, or the std::error_code that says why there is none.
///
/// Errors are values on the data path; exceptions are for start-up only. The type is [[nodiscard]]: a caller that does
/// not care says so with a cast. Looking at the wrong half is our own bug and asserts.
#pragma once

#include <cassert>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace connd::proto {

template <class T>
class [[nodiscard]] Result {
 public:
  // Implicit on purpose: `return value;` and `return Errc::kX;` are how functions end.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}                     // NOLINT(*-explicit-*)
  Result(std::error_code error) : state_(std::in_place_index<1>, error) { assert(error); }  // NOLINT(*-explicit-*)
  template <class E, class = std::enable_if_t<std::is_error_code_enum_v<E>>>
  Result(E error) : Result(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *checked(); }
  const T& value() const& { return *const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return &value(); }

  /// The error; a default (falsy) code when there is a value.
  [[nodiscard]] std::error_code error() const { return ok() ? std::error_code{} : std::get<1>(state_); }

 private:
  T* checked() {
    assert(ok());
    return std::get_if<0>(&state_);
  }
  std::variant<T, std::error_code> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(std::error_code error) : error_(error) { assert(error); }  // NOLINT(*-explicit-*)
  template <class E, class = std::enable_if_t<std::is_error_code_enum_v<E>>>
  Result(E error) : Result(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] std::error_code error() const { return error_; }

 private:
  std::error_code error_;
};

}  // namespace connd::proto
