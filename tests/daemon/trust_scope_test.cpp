// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/trust_scope.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

namespace {

TrustScope scope(std::vector<ScopePattern> patterns) {
  auto made = TrustScope::of(std::move(patterns));
  REQUIRE(made);
  return *std::move(made);
}

}  // namespace

TEST_CASE("fault B6: a scope covers its names and prefixes, by bytes") {
  const TrustScope some = scope({{"file://", true}, {"ssh", false}, {"\xc3\xa4", true}});
  for (const char* in : {"file://", "file://1", "file:///etc", "ssh", "\xc3\xa4", "\xc3\xa4x"}) CHECK(some.covers(in));
  // "a" with a combining diaeresis looks the same, and is another name.
  for (const char* out : {"", "file:/", "FILE://1", "ssh2", "ss", "Ssh", " ssh", "a\xcc\x88", "\xc3"}) {
    INFO(out);
    CHECK_FALSE(some.covers(out));
  }
  CHECK(some.covers(std::string("file://\0x", 9)));
  CHECK_FALSE(some.covers(std::string("ssh\0", 4)));
  const TrustScope all_but_ours = scope({{"", true}});
  CHECK(all_but_ours.covers(""));
  CHECK(all_but_ours.covers("jc"));
  CHECK_FALSE(all_but_ours.covers("jc:relay"));
  CHECK_FALSE(scope({{"j", true}}).covers("jc:"));
  CHECK(TrustScope().covers("jc:relay"));
  CHECK(scope({{"", false}}).covers(""));
  CHECK_FALSE(scope({{"", false}}).covers("x"));
}

TEST_CASE("fault B6: a scope is bounded, in order, and never empty") {
  CHECK(scope({{"b", false}, {"a", true}, {"b", false}}) == scope({{"a", true}, {"b", false}}));
  CHECK_FALSE(TrustScope::of({}));
  CHECK_FALSE(TrustScope::of({{"jc:relay", false}}));
  CHECK_FALSE(TrustScope::of({{"jc:", true}}));
  std::vector<ScopePattern> many(TrustScope::kMaxPatterns, {"x", false});
  CHECK(TrustScope::of(many));
  many.push_back({"x", false});
  CHECK_FALSE(TrustScope::of(many));
  CHECK(TrustScope::of({{std::string(TrustScope::kMaxBytes, 'x'), true}}));
  CHECK_FALSE(TrustScope::of({{std::string(TrustScope::kMaxBytes, 'x'), true}, {"y", false}}));
}
