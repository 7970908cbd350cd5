// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/client_access.h"

#include <unistd.h>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

ipc::PeerCredentials user(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}) {
  ipc::PeerCredentials out;
  out.pid = 1;
  out.uid = uid;
  out.gid = gid;
  out.groups = std::move(groups);
  return out;
}

}  // namespace

TEST_CASE("a user service serves its owner and root, and both may do all") {
  ClientAccess access;
  access.owner = 1000;
  CHECK(access.may_connect(user(1000, 1000)));
  CHECK(access.is_admin(user(1000, 1000)));
  CHECK(access.may_connect(user(0, 0)));
  CHECK(access.is_admin(user(0, 0)));
  CHECK_FALSE(access.may_connect(user(1001, 1000, {1000})));
  CHECK(access.socket_mode() == 0600);
  CHECK(ClientAccess::user_service().owner == geteuid());
}

TEST_CASE("the system service goes by its two groups") {
  ClientAccess access;
  access.users = 100;
  access.admins = 101;
  CHECK(access.may_connect(user(1000, 100)));
  CHECK(access.may_connect(user(1000, 1000, {5, 100})));
  CHECK_FALSE(access.is_admin(user(1000, 100)));
  CHECK(access.may_connect(user(1000, 1000, {101})));
  CHECK(access.is_admin(user(1000, 1000, {101})));
  CHECK_FALSE(access.may_connect(user(1000, 1000, {102})));
  CHECK(access.is_admin(user(0, 0)));
  CHECK(access.socket_mode() == 0660);
}

TEST_CASE("without the groups, root alone is left") {
  const ClientAccess access;
  CHECK(access.is_admin(user(0, 0)));
  CHECK_FALSE(access.may_connect(user(1000, 0, {0})));
}
