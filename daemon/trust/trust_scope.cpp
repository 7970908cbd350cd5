// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/trust_scope.h"

#include <algorithm>

namespace connd::daemon {

Outcome<TrustScope> TrustScope::of(std::vector<ScopePattern> patterns) {
  if (patterns.empty() || patterns.size() > kMaxPatterns) {
    return invalid("a scope has 1 to " + std::to_string(kMaxPatterns) + " uris");
  }
  std::size_t bytes = 0;
  for (const ScopePattern& pattern : patterns) {
    bytes += pattern.uri.size();
    if (pattern.uri.starts_with(kReserved)) return invalid("a scope has no uris that begin with jc:");
  }
  if (bytes > kMaxBytes) return invalid("the uris of a scope have at most " + std::to_string(kMaxBytes) + " bytes");
  std::sort(patterns.begin(), patterns.end());
  patterns.erase(std::unique(patterns.begin(), patterns.end()), patterns.end());
  return TrustScope(std::move(patterns));
}

bool TrustScope::covers(std::string_view uri) const {
  if (is_everything()) return true;
  if (uri.starts_with(kReserved)) return false;
  return std::any_of(patterns_.begin(), patterns_.end(), [uri](const ScopePattern& pattern) {
    return pattern.prefix ? uri.starts_with(pattern.uri) : uri == pattern.uri;
  });
}

}  // namespace connd::daemon
