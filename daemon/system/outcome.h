// SPDX-License-Identifier: GPL-3.0-or-later
/// Outcome<T>: a value, or a Failure whose text a person can act on.
///
/// For what touches the machine that we run on (files, options, limits), where the error code alone does not say which
/// file and what to do. The data path has proto::Result.
#pragma once

#include <string>
#include <system_error>
#include <utility>

#include "proto/result.h"

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

/// proto::ValueOr; `failure()` is its error, only of one that is not ok.
template <class T>
class [[nodiscard]] Outcome : public proto::ValueOr<T, Failure> {
 public:
  using proto::ValueOr<T, Failure>::ValueOr;
  [[nodiscard]] const Failure& failure() const { return this->error(); }
};

}  // namespace connd::daemon
