// SPDX-License-Identifier: GPL-3.0-or-later
// State directories that earlier versions wrote (tests/compat) are read by this one: nobody becomes another device by
// an upgrade, forgets whom he trusts, or treats old requests anew.
#include <filesystem>

#include <catch2/catch.hpp>

#include "daemon/trust/identity_store.h"
#include "daemon/trust/stores.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

constexpr std::int64_t kAt = 1'800'000'000;

/// What is in the directory of one version.
struct Landed {
  std::string version;
  std::string device;
  std::string bob;             ///< whom it has met and allows
  std::uint64_t bobs_request;  ///< that was treated
  bool verified;               ///< the certificates that it kept were verified ones
};
const std::vector<Landed> kLanded = {
    {"97bbc56", "59c136aca2fb761b5a7cdf96f172ab6ac50080c8a54d4570083ec2cc55eaa665",
     "c42358abc6ef9a95721f0cb1d1d72e94251feb8bb462ef791f4dc9af40347451", 0x001c'7701'14f5'aba3, false},
    {"4f4ee00", "fc0a64f730be7193eebd125e85f885606a048f7c4545af6aaa24500ac03b1ad9",
     "f0c54623a1e5e1fa3469ba7f6cacc1b99bf163db1bb1c6aa46488b8b9832b252", 0x0000'1e49'9806'be9a, true},
};

/// A copy with the modes that it had: a checkout has others.
void copy_state(const std::string& version, const TempDir& to) {
  namespace fs = std::filesystem;
  const std::string from = std::string(CONND_COMPAT) + "/" + version + "/state";
  REQUIRE(fs::is_directory(from));
  fs::copy(from, to.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  for (const auto& entry : fs::recursive_directory_iterator(to.path())) {
    fs::permissions(entry.path(),
                    entry.is_directory() ? fs::perms::owner_all : fs::perms::owner_read | fs::perms::owner_write);
  }
}

proto::AccountId id(const char* two_digits) {
  std::string hex;
  for (int i = 0; i < 20; ++i) hex += two_digits;
  return *proto::AccountId::from_hex(hex);
}

}  // namespace

TEST_CASE("compat: a state directory that has landed: the same device, account and keys") {
  const Landed landed = GENERATE(from_range(kLanded));
  INFO(landed.version);
  TempDir dir;
  copy_state(landed.version, dir);
  const auto loaded = load_identity(dir.path(), kAt);
  REQUIRE(loaded);
  CHECK(loaded->identity.chain.device_id().hex() == landed.device);
  CHECK(loaded->has_account_key);
  const auto keys = read_account_keys(dir.path());
  REQUIRE(keys);
  CHECK_FALSE(keys->ca_pem.empty());
}

TEST_CASE("compat: a state directory that has landed: trust, aliases, requests and revocations") {
  const Landed landed = GENERATE(from_range(kLanded));
  INFO(landed.version);
  const auto bob = *proto::DeviceId::from_hex(landed.bob);
  TempDir dir;
  copy_state(landed.version, dir);
  for (int start = 0; start < 2; ++start) {  // and what this version makes of it is read again
    auto stores = Stores::open(dir.path());
    REQUIRE(stores);
    CHECK(stores->trust.list().size() == 4);
    CHECK(stores->trust.of(bob) == Trust::kAllowed);
    CHECK(stores->trust.of(proto::DeviceId{}, std::vector{id("ac")}) == Trust::kAllowed);
    CHECK(stores->trust.of(proto::DeviceId{}, std::vector{id("00"), id("ca")}) == Trust::kAllowed);
    CHECK(stores->aliases.find("bob") == bob);
    CHECK(stores->crls.list().size() == 1);
    CHECK_FALSE(stores->requests.first_seen(bob, landed.bobs_request, true));
    CHECK(stores->requests.first_seen(bob, landed.bobs_request + 1 + static_cast<unsigned>(start), true));
    REQUIRE(stores->requests.save());
    // What was found on the DHT and not verified is looked up again.
    CHECK(stores->certificates.size() == (landed.verified ? 2 : 0));
    if (landed.verified) CHECK(stores->trust.first_met(bob) != nullptr);
  }
}
