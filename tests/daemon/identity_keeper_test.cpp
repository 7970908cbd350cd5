// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/identity_keeper.h"

#include <catch2/catch.hpp>

#include "proto/certificate_request.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

constexpr std::int64_t kAt = 1'800'000'000;
const std::string kPassphrase = "a long passphrase";

LoadedIdentity made(const TempDir& dir) {
  REQUIRE(generate_identity(dir.path(), {2048, kAt}));
  auto loaded = load_identity(dir.path(), kAt);
  REQUIRE(loaded);
  return *std::move(loaded);
}

Stores opened(const TempDir& dir) {
  auto stores = Stores::open(dir.path());
  REQUIRE(stores);
  return *std::move(stores);
}

/// A device with its keeper; answers are in the order in which they came.
struct Device {
  TempDir dir;
  Loop loop;
  LoadedIdentity identity = made(dir);
  Stores stores = opened(dir);
  int replaced = 0;
  std::optional<IdentityKeeper> keeper{std::in_place, loop, dir.path(), identity, stores, [this] { ++replaced; }};
  std::vector<std::pair<std::string, IdentityKeeper::Text>> answers;

  IdentityKeeper::Done as(const std::string& name) {
    return [this, name](IdentityKeeper::Text text) {
      answers.emplace_back(name, std::move(text));
      if (answers.size() == wanted) loop.stop();
    };
  }
  void run(std::size_t count) {
    wanted = count;
    if (answers.size() < count) loop.run();
    REQUIRE(answers.size() == count);
  }

 private:
  std::size_t wanted = 0;
};

}  // namespace

TEST_CASE("fault I: the account's key is read for each thing that is signed, and jobs follow each other") {
  Device device;
  CHECK(device.identity.has_account_key);
  device.keeper->request(device.as("request"));
  device.run(1);
  const std::string request = *device.answers[0].second;
  device.answers.clear();

  // All at once: each sees what the one before has left.
  device.keeper->sign(request, kAt, device.as("sign"));
  device.keeper->export_account("short", device.as("short"));
  device.keeper->export_account(kPassphrase, device.as("export"));
  device.keeper->forget_account_key(device.as("forget"));
  device.keeper->sign(request, kAt, device.as("sign without"));
  device.keeper->forget_account_key(device.as("forget again"));
  CHECK(device.answers.empty());  // nothing of it on the loop
  device.run(6);
  const auto& answers = device.answers;
  CHECK(answers[0].first == "sign");
  CHECK(answers[0].second->starts_with("-----BEGIN CERTIFICATE-----"));
  CHECK(answers[1].second.error().code == ipc::kInvalidParams);
  REQUIRE(answers[2].second);
  CHECK(answers[3].second);
  CHECK_FALSE(device.identity.has_account_key);
  CHECK(answers[4].second.error().reason == ipc::Reason::kNotFound);
  CHECK(answers[5].second.error().reason == ipc::Reason::kNotFound);
  CHECK(device.dir.names("identity") == std::vector<std::string>{"chain.pem", "device.key"});

  const std::string exported = *answers[2].second;
  device.answers.clear();
  device.keeper->import(exported, "another passphrase", kAt, device.as("wrong"));
  device.keeper->import(exported, kPassphrase, kAt, device.as("import"));
  device.run(2);
  CHECK_FALSE(device.answers[0].second);
  CHECK(device.answers[1].second);
  CHECK(device.identity.has_account_key);
  CHECK(device.replaced == 0);
}

TEST_CASE(
    "fault I: what waits when the chain is replaced is not done; more than the bound is refused; an end is an end") {
  Device account;
  Device joining;
  joining.keeper->request(joining.as("request"));
  joining.run(1);
  account.keeper->sign(*joining.answers[0].second, kAt, account.as("sign"));
  account.run(1);
  REQUIRE(account.answers[0].second);
  joining.answers.clear();

  joining.keeper->import(*account.answers[0].second, "", kAt, joining.as("import"));
  joining.keeper->forget_account_key(joining.as("forget"));
  joining.run(2);
  CHECK(joining.answers[0].first == "forget");  // refused when the import is through, before its caller hears of that
  CHECK(joining.answers[0].second.error().reason == ipc::Reason::kNotReady);
  CHECK(joining.answers[1].second);
  CHECK(joining.replaced == 1);
  joining.keeper->request(joining.as("late"));
  CHECK(joining.answers.back().second.error().reason == ipc::Reason::kNotReady);

  account.answers.clear();
  for (std::size_t n = 0; n < IdentityKeeper::kMaxJobs + 1; ++n) account.keeper->request(account.as("request"));
  CHECK(account.answers.empty());
  account.keeper->request(account.as("too many"));
  REQUIRE(account.answers.size() == 1);
  CHECK(account.answers[0].second.error().reason == ipc::Reason::kResourceLimit);
  account.keeper.reset();  // what is on the pool tells nobody any more, and the loop's end waits for it
}

TEST_CASE("fault B7: revocations follow each other, signed on the pool and kept by the loop") {
  Device account;
  std::vector<proto::DeviceId> lost;
  for (int n = 0; n < 2; ++n) {
    const Device other;
    lost.push_back(other.identity.identity.chain.device_id());
    const auto request = proto::make_certificate_request(other.identity.device_key_pem.view());
    REQUIRE(request);
    account.keeper->sign(*request, kAt, account.as("sign"));
  }
  // Asked before the certificates are there: what a job needs of the stores is looked up when its turn comes.
  for (const proto::DeviceId& device : lost) account.keeper->revoke(device, "", kAt, account.as("revoke"));
  account.keeper->revoke(account.identity.identity.chain.device_id(), "", kAt, account.as("itself"));
  account.keeper->revoke(proto::DeviceId{}, "", kAt, account.as("unknown"));
  account.keeper->revoke(lost[0], "no chain", kAt, account.as("no chain"));
  account.keeper->forget_account_key(account.as("forget"));
  account.keeper->revoke(lost[0], "", kAt, account.as("without the key"));
  CHECK(account.answers.empty());  // nothing of it on the loop
  account.run(9);

  const auto& answers = account.answers;
  REQUIRE(answers[2].second);
  REQUIRE(answers[3].second);
  const auto& lists = account.stores.crls.list();
  REQUIRE(lists.size() == 1);  // the second has what the first had
  CHECK(lists.begin()->first == *answers[3].second);
  CHECK(lists.begin()->second.number() == 2);
  CHECK(lists.begin()->second.size() == 2);
  for (const proto::DeviceId& device : lost) CHECK(account.stores.trust.of(device) == Trust::kBanned);
  CHECK(answers[4].second.error().reason == ipc::Reason::kInvalidArgument);
  CHECK(answers[5].second.error().reason == ipc::Reason::kNotFound);
  CHECK(answers[6].second.error().reason == ipc::Reason::kBadCertificate);
  CHECK(answers[8].second.error().reason == ipc::Reason::kNotFound);
}
