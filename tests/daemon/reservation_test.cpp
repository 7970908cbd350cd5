// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/reservation.h"

#include <catch2/catch.hpp>

#include "daemon/settings/options.h"
#include "daemon/system/user_names.h"

using namespace connd::daemon;

TEST_CASE("users and groups by name and by number") {
  const auto root = PrefixReservation::parse("user:root file://");
  REQUIRE(root);
  CHECK(*root == PrefixReservation{"file://", 0, std::nullopt});
  CHECK(root->text() == "user:0 file://");
  const auto group = PrefixReservation::parse("group:33 \t git://a b=c ");
  REQUIRE(group);
  CHECK(*group == PrefixReservation{"git://a b=c ", std::nullopt, 33});
  CHECK(*PrefixReservation::parse(group->text()) == *group);
  CHECK(user_id("root") == uid_t{0});
  CHECK(group_id("root") == gid_t{0});
  CHECK(!group_id("no such group"));
}

TEST_CASE("what is no reservation is refused with words") {
  const std::pair<std::string, std::string> bad[] = {
      {"user:no-such-user-here x", "there is no user 'no-such-user-here'"},
      {"group:no-such-group-here x", "there is no group 'no-such-group-here'"},
      {"user:4294967295 x", "there is no user"},
      {"user: x", "there is no user ''"},
      {"root x", "is not 'user:NAME PREFIX'"},
      {"user:root", "is not 'user:NAME PREFIX'"},
      {"user:root  ", "is not 'user:NAME PREFIX'"},
      {"", "is not 'user:NAME PREFIX'"},
      {"user:root \xff", "UTF-8"},
      {"user:root " + std::string(65'001, 'x'), "65000"}};
  for (const auto& [text, words] : bad) {
    const auto parsed = PrefixReservation::parse(text);
    INFO(text.substr(0, 40));
    REQUIRE(!parsed);
    CHECK(parsed.failure().text.find(words) != std::string::npos);
  }
}

TEST_CASE("there is a bound to them") {
  Config config;
  const OptionSpec& reserve = *find_option("reserve");
  std::size_t taken = 0;
  while (taken < 10'000 && apply_option(reserve, "user:0 x" + std::to_string(taken), config)) ++taken;
  CHECK(taken == 256);
  CHECK(config.reservations.size() == 256);
}
