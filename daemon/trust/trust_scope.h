// SPDX-License-Identifier: GPL-3.0-or-later
/// TrustScope: for which uris of channels a peer is trusted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/system/outcome.h"

namespace connd::daemon {

/// One name, or all that begin with it. Bytes are compared: no name is taken apart, and upper and lower case differ.
struct ScopePattern {
  std::string uri;
  bool prefix = false;
  friend auto operator<=>(const ScopePattern&, const ScopePattern&) = default;
};

/// A value: everything, or what any of its patterns has.
class TrustScope {
 public:
  /// A person writes these down one by one.
  static constexpr std::size_t kMaxPatterns = 32;
  /// Of all names of one scope; names of services have some dozen bytes.
  static constexpr std::size_t kMaxBytes = 4'096;
  /// Channels whose names begin so are the daemon's own: no scope speaks of them, and none covers them.
  static constexpr std::string_view kReserved = "jc:";

  /// Everything.
  TrustScope() = default;
  /// Failures (invalid_argument): none, too many or too long ones, or one that is the daemon's own.
  static Outcome<TrustScope> of(std::vector<ScopePattern> patterns);

  [[nodiscard]] bool covers(std::string_view uri) const;
  [[nodiscard]] bool is_everything() const { return patterns_.empty(); }
  /// In order, each once; empty: everything.
  [[nodiscard]] const std::vector<ScopePattern>& patterns() const { return patterns_; }
  friend bool operator==(const TrustScope&, const TrustScope&) = default;

 private:
  explicit TrustScope(std::vector<ScopePattern> patterns) : patterns_(std::move(patterns)) {}
  std::vector<ScopePattern> patterns_;
};

}  // namespace connd::daemon
