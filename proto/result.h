// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// ValueOr<T, E>: a value, or what says why there is none. There is one such type; what an error says differs:
/// Result<T> has a bare std::error_code (the data path), daemon::Outcome<T> a line for a person (what touches this
/// machine), ipc::Outcome<T> an error of the local API.
///
/// Errors are values on the data path; exceptions are for start-up only. The type is [[nodiscard]]: a caller that does
/// not care says so with a cast. Looking at the wrong half is our own bug and asserts; `error()` of a Result may be
/// asked for in any case, and is a default (falsy) code when there is a value.
#pragma once

#include <cassert>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace connd::proto {

namespace detail {
template <class E>
inline constexpr bool kIsCode = std::is_same_v<E, std::error_code>;
/// std::errc and the like, where the error is a code.
template <class E, class From>
using IfCodeEnum = std::enable_if_t<kIsCode<E> && std::is_error_code_enum_v<From>>;
}  // namespace detail

template <class T, class E>
class [[nodiscard]] ValueOr {
 public:
  // Implicit on purpose: `return value;` and `return Errc::kX;` are how functions end.
  ValueOr(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(*-explicit-*)
  ValueOr(E error) : state_(std::in_place_index<1>, std::move(error)) {   // NOLINT(*-explicit-*)
    if constexpr (detail::kIsCode<E>) assert(std::get<1>(state_));
  }
  template <class From, class = detail::IfCodeEnum<E, From>>
  ValueOr(From error) : ValueOr(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *checked(); }
  const T& value() const& { return *const_cast<ValueOr*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] decltype(auto) error() const {
    if constexpr (detail::kIsCode<E>) {
      return ok() ? E() : E(std::get<1>(state_));
    } else {
      assert(!ok());
      return static_cast<const E&>(*std::get_if<1>(&state_));
    }
  }

 private:
  T* checked() {
    assert(ok());
    return std::get_if<0>(&state_);
  }
  std::variant<T, E> state_;
};

/// Success, or what says why not.
template <class E>
class [[nodiscard]] ValueOr<void, E> {
 public:
  ValueOr() = default;
  ValueOr(E error) : error_(std::move(error)) {  // NOLINT(*-explicit-*)
    if constexpr (detail::kIsCode<E>) assert(*error_);
  }
  template <class From, class = detail::IfCodeEnum<E, From>>
  ValueOr(From error) : ValueOr(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] decltype(auto) error() const {
    if constexpr (detail::kIsCode<E>) {
      return error_.value_or(E());
    } else {
      assert(!ok());
      return static_cast<const E&>(*error_);
    }
  }

 private:
  std::optional<E> error_;
};

template <class T>
using Result = ValueOr<T, std::error_code>;

}  // namespace connd::proto
