// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/api_page.h"

#include <string>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using daemon::api::Page;
using ipc::Json;

namespace {

/// Items 1 to `count` of `bytes` each, as a method that lists would add them. The page's keys, and what follows.
Json list(const ipc::PageParams& params, std::uint64_t count, std::size_t bytes = 1) {
  Page page(params);
  const auto after = page.after_number();
  REQUIRE(after.ok());
  for (std::uint64_t i = *after + 1; i <= count; ++i) {
    if (!page.add({{"n", i}, {"text", std::string(bytes, 'x')}}, i)) break;
  }
  auto result = std::move(page).result("items");
  return result ? *std::move(result) : Json{{"error", result.error().message}};
}

}  // namespace

TEST_CASE("the size of JSON is what it is") {
  const Json values = {Json::object(),
                       Json::array(),
                       {1, 2.5, -3, true, nullptr},
                       {{"a", "b"}, {"", Json::array({"x"})}},
                       std::string("\0\x1f\"\\\b\f\n\r\t\x7fé", 12),
                       1e300};
  for (const Json& value : values) CHECK(daemon::api::json_bytes(value) == value.dump().size());
  CHECK(daemon::api::json_bytes(values) == values.dump().size());
}

TEST_CASE("fault C7: without a page all is answered, or nothing, and then how to ask") {
  const Json all = list({}, 1'000);
  CHECK(all["items"].size() == 1'000);
  CHECK_FALSE(all.contains("next"));
  const Json none = list({}, 3'000, 1'000);
  CHECK(none["error"].get<std::string>().find("pages (limit, after)") != std::string::npos);
}

TEST_CASE("fault C7: pages show each item once, whatever their size") {
  for (const std::uint64_t limit : {1ULL, 7ULL, 256ULL, 100'000ULL}) {
    ipc::PageParams params{limit, std::nullopt};
    std::uint64_t seen = 0;
    std::size_t pages = 0;
    while (true) {
      const Json page = list(params, 700);
      CHECK(page["items"].size() <= std::min<std::uint64_t>(limit, ipc::kMaxPageItems));
      for (const Json& item : page["items"]) CHECK(item["n"] == ++seen);
      ++pages;
      if (!page.contains("next")) break;
      params.after = page["next"].get<std::string>();
    }
    CHECK(seen == 700);
    CHECK(pages == (700 + std::min<std::uint64_t>(limit, 256) - 1) / std::min<std::uint64_t>(limit, 256));
  }
  // The last page is full, and says that it is the last.
  CHECK_FALSE(list({256, "444"}, 700).contains("next"));
  CHECK(list({256, "443"}, 700)["next"] == "699");
  CHECK(list({256, "700"}, 700)["items"].empty());
}

TEST_CASE("fault C7: a page of long items has few, and one at least") {
  const Json page = list({std::nullopt, ""}, 100, 60'000);
  CHECK(page["items"].size() == 3);
  CHECK(page["next"] == "3");
  // The longest name, in escapes.
  Page longest(ipc::PageParams{1, std::nullopt});
  CHECK(longest.add({{"uri", std::string(ipc::kMaxUriBytes, '\1')}}, 1));
  CHECK_FALSE(longest.add({{"uri", ""}}, 2));
  const auto result = std::move(longest).result("channels");
  REQUIRE(result.ok());
  CHECK(result->dump().size() < ipc::kMaxLineBytes / 2);
}

TEST_CASE("a place in a list of numbers is a number") {
  for (const char* after : {"x", "1x", "-1", " 1", "99999999999999999999"}) {
    CHECK(Page(ipc::PageParams{std::nullopt, after}).after_number().error().code == ipc::kInvalidParams);
  }
}
