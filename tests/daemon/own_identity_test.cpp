// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/own_identity.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "daemon/trust/state_disk.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

struct Device {
  TempDir dir;
  Stores stores = *Stores::open(dir.path());
  Loop loop;
  StateDisk disk{loop};
  std::vector<std::string> told;
  OwnIdentity identity{loop,
                       dir.path(),
                       stores,
                       {[this] { tell("loaded"); }, [this](const std::string& text) { tell("failed: " + text); },
                        [this] { tell("replaced"); }}};

  Device() {
    stores.use(disk, [] {});
  }
  void make() {
    IdentityStoreOptions options;
    options.rsa_bits = 2'048;
    options.now_unix = 1'700'000'000;
    REQUIRE(generate_identity(dir.path(), options));
  }
  void tell(std::string what) {
    told.push_back(std::move(what));
    loop.stop();
  }
};

}  // namespace

TEST_CASE("OwnIdentity loads what is there, and may load it anew") {
  Device device;
  device.make();
  device.identity.load();
  CHECK(device.identity.get() == nullptr);
  CHECK(device.identity.keeper() == nullptr);
  CHECK_FALSE(device.identity.certificate_problem());
  device.loop.run();
  REQUIRE(device.told == std::vector<std::string>{"loaded"});
  REQUIRE(device.identity.get() != nullptr);
  const auto id = device.identity.get()->identity.chain.device_id();
  CHECK(device.identity.keeper() != nullptr);
  CHECK(device.identity.problem().empty());
  device.identity.load();
  device.loop.run();
  CHECK(device.told.size() == 2);
  CHECK(device.identity.get()->identity.chain.device_id() == id);
}

TEST_CASE("OwnIdentity: one that cannot be used is told, in a line that names the file") {
  Device device;
  device.make();
  std::filesystem::permissions(identity_dir(device.dir.path()) + "/device.key", std::filesystem::perms(0644));
  device.identity.load();
  device.loop.run();
  REQUIRE(device.told.size() == 1);
  CHECK(device.told[0].starts_with("failed: "));
  CHECK(device.told[0].find("device.key") != std::string::npos);
  CHECK(device.identity.get() == nullptr);
}

TEST_CASE("OwnIdentity: what is loaded when it was stopped is nobody's") {
  Device device;
  device.make();
  device.identity.load();
  device.identity.stop();
  for (int i = 0; i < 2; ++i) {
    device.loop.post_work([] {}, [&] { device.loop.stop(); });
    device.loop.run();
  }
  CHECK(device.told.empty());
}
