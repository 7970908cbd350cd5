// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/error.h"

#include <set>

#include <catch2/catch.hpp>

#include "proto/result.h"

using namespace connd::proto;

TEST_CASE("every error has a text of its own and a reason") {
  std::set<std::string> texts;
  for (int value = 1; value <= static_cast<int>(Errc::kKeyGenerationFailed); ++value) {
    const std::error_code code = make_error_code(static_cast<Errc>(value));
    INFO(value);
    CHECK(code.message() != "unknown error");
    CHECK(texts.insert(code.message()).second);
    CHECK(reason_of(code) != Reason::kClosed);
  }
  CHECK(reason_of(std::make_error_code(std::errc::io_error)) == Reason::kInternal);
}

TEST_CASE("reason names are unique and found again") {
  for (const ReasonInfo& info : kReasons) {
    CHECK(reason_from_name(info.name) == info.reason);
    CHECK(reason_from_code(static_cast<std::uint64_t>(info.reason)) == info.reason);
  }
  CHECK_FALSE(reason_from_name("nonsense"));
  CHECK(reason_from_code(4'000'000'000) == Reason::kReset);
}

TEST_CASE("Result holds a value or an error") {
  Result<std::string> good(std::string("x"));
  CHECK(good.ok());
  CHECK(*good == "x");
  CHECK_FALSE(good.error());
  Result<std::string> bad(Errc::kBadHex);
  CHECK_FALSE(bad);
  CHECK(bad.error() == Errc::kBadHex);
  Result<void> fine;
  CHECK(fine.ok());
  Result<void> failed(Errc::kTooLong);
  CHECK(failed.error() == Errc::kTooLong);
}
