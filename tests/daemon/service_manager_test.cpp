// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/service_manager.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

using namespace connd::daemon;
using namespace connd::test;

TEST_CASE("fault E15: a user's service knows whether it ends with the login") {
  const TempDir lingering;
  const auto ends = [&lingering](std::vector<std::pair<std::string, std::string>> variables) {
    return ServiceManager::ends_with_login(environment(std::move(variables)), lingering.path());
  };
  CHECK(ends({{"MANAGERPID", "700"}, {"USER", "bob"}}));
  CHECK_FALSE(ends({{"USER", "bob"}}));  // started by hand, or a service of the system
  CHECK_FALSE(ends({{"MANAGERPID", "700"}}));
  write_file(lingering.file("bob"), "");
  CHECK_FALSE(ends({{"MANAGERPID", "700"}, {"USER", "bob"}}));
  CHECK(ends({{"MANAGERPID", "700"}, {"USER", "alice"}}));
}
