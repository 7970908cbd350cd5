// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/identity_store.h"

#include <unistd.h>

#include <filesystem>
#include <optional>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

constexpr std::int64_t kAt = 1'800'000'000;
const IdentityStoreOptions kSmall{2048, kAt};

Outcome<LoadedIdentity> load_or_generate(const std::string& state_dir, const IdentityStoreOptions& options = kSmall) {
  Loop loop;
  std::optional<Outcome<LoadedIdentity>> out;
  load_or_generate_identity(loop, state_dir, options, [&](Outcome<LoadedIdentity> result) {
    CHECK(loop.on_thread());
    CHECK(!out);
    out = std::move(result);
    loop.stop();
  });
  loop.run();
  REQUIRE(out);
  return *std::move(out);
}

// Two identities, made once: the second has other keys.
const std::string& made(std::size_t i) {
  static TempDir dirs[2];
  if (dirs[i].names().empty()) REQUIRE(generate_identity(dirs[i].path(), kSmall));
  return dirs[i].path();
}

void copy_identity(const std::string& to) {
  std::filesystem::copy(identity_dir(made(0)), identity_dir(to));
}

// What loading says of a state directory with one file of the first identity exchanged.
std::string failure_with(const std::string& name, const std::optional<std::string>& text, unsigned mode = 0600) {
  TempDir dir;
  copy_identity(dir.path());
  const std::string path = identity_dir(dir.path()) + "/" + name;
  if (text) {
    write_file(path, *text, mode);
  } else {
    REQUIRE(unlink(path.c_str()) == 0);
  }
  const auto before = dir.names("identity");
  const auto loaded = load_or_generate(dir.path());
  CHECK(dir.names("identity") == before);  // not touched
  CHECK(dir.names() == std::vector<std::string>{"identity"});
  if (loaded) return "";
  CHECK(loaded.failure().text.find(path) == 0);
  CHECK(loaded.failure().text.find('\n') == std::string::npos);
  return loaded.failure().text;
}

}  // namespace

TEST_CASE("the first start makes an identity, every later one finds the same") {
  TempDir dir;
  const auto first = load_or_generate(dir.path());
  REQUIRE(first);
  CHECK(first->identity.chain.size() == 3);
  CHECK(first->identity.chain.verify(kAt));
  CHECK(first->has_account_key);
  CHECK(dir.names() == std::vector<std::string>{"identity"});
  CHECK(dir.names("identity") == std::vector<std::string>{"account.key", "ca.key", "chain.pem", "device.key"});
  CHECK(mode_of(dir.file("identity")) == 0700);
  for (const auto& name : dir.names("identity")) CHECK(mode_of(dir.file("identity/" + name)) == 0600);

  const auto second = load_or_generate(dir.path());
  REQUIRE(second);
  CHECK(second->identity.chain == first->identity.chain);
  CHECK(second->device_key_pem.view() == first->device_key_pem.view());
  CHECK(second->chain_pem == first->chain_pem);
  const auto again = generate_identity(dir.path(), kSmall);
  REQUIRE(!again);
  CHECK(again.failure().code == std::errc::file_exists);
}

TEST_CASE("an identity dated by a clock that was not set is valid once it is") {
  TempDir dir;
  REQUIRE(generate_identity(dir.path(), {2048, 0}));
  const auto loaded = load_identity(dir.path(), 0);
  REQUIRE(loaded);
  CHECK(loaded->identity.chain.verify(kAt));
}

TEST_CASE("an expired identity is loaded: its owner must be able to see it") {
  TempDir dir;
  copy_identity(dir.path());
  CHECK(load_identity(dir.path(), kAt * 2));
}

TEST_CASE("the account and CA keys can leave the device") {
  TempDir dir;
  copy_identity(dir.path());
  REQUIRE(unlink(dir.file("identity/account.key").c_str()) == 0);
  REQUIRE(unlink(dir.file("identity/ca.key").c_str()) == 0);
  const auto loaded = load_or_generate(dir.path());
  REQUIRE(loaded);
  CHECK(!loaded->has_account_key);
}

TEST_CASE("what is missing, half-written, unreadable or mismatched is a failure with its path, never replaced") {
  const std::string other = identity_dir(made(1));
  const std::string chain = read_file(identity_dir(made(0)) + "/chain.pem");
  const std::string other_chain = read_file(other + "/chain.pem");
  const std::string certificate_end = "-----END CERTIFICATE-----\n";
  const std::string leaf = chain.substr(0, chain.find(certificate_end) + certificate_end.size());
  const std::string other_above = other_chain.substr(other_chain.find(certificate_end) + certificate_end.size());

  for (const std::string& name : {std::string("device.key"), std::string("chain.pem")}) {
    CHECK(failure_with(name, std::nullopt).find("is missing") != std::string::npos);
    CHECK(!failure_with(name, "").empty());
    CHECK(!failure_with(name, "junk").empty());
    CHECK(failure_with(name, read_file(identity_dir(made(0)) + "/" + name), 0640).find("chmod 600") !=
          std::string::npos);
  }
  const std::string key = read_file(identity_dir(made(0)) + "/device.key");
  CHECK(!failure_with("device.key", key.substr(0, key.size() / 2)).empty());
  CHECK(!failure_with("device.key", read_file(other + "/device.key")).empty());
  CHECK(!failure_with("chain.pem", leaf + other_above).empty());
  CHECK(!failure_with("account.key", "junk").empty());
  CHECK(!failure_with("account.key", read_file(other + "/account.key")).empty());
  CHECK(!failure_with("account.key", read_file(identity_dir(made(0)) + "/account.key"), 0644).empty());
}

TEST_CASE("an identity directory that is empty, a file or a dangling link is not replaced") {
  TempDir dir;
  const std::string path = identity_dir(dir.path());
  REQUIRE(mkdir(path.c_str(), 0700) == 0);
  CHECK(!load_or_generate(dir.path()));
  CHECK(dir.names("identity").empty());
  REQUIRE(rmdir(path.c_str()) == 0);

  write_file(path, "a file");
  CHECK(!load_or_generate(dir.path()));
  CHECK(read_file(path) == "a file");
  REQUIRE(unlink(path.c_str()) == 0);

  REQUIRE(symlink("/nonexistent/identity", path.c_str()) == 0);
  CHECK(!load_or_generate(dir.path()));
  CHECK(std::filesystem::is_symlink(path));
}

TEST_CASE("a start that died while it made keys is made good") {
  TempDir dir;
  std::filesystem::create_directory(dir.file("identity.new"));
  write_file(dir.file("identity.new/device.key"), "half");
  REQUIRE(load_or_generate(dir.path()));
  CHECK(dir.names() == std::vector<std::string>{"identity"});
}

TEST_CASE("an identity that cannot be written leaves nothing, and the next start makes one") {
  TempDir dir;
  {
    const FileSizeLimit limit(1000);  // less than one key
    const auto made_one = load_or_generate(dir.path());
    REQUIRE(!made_one);
    CHECK(made_one.failure().text.find(dir.path()) == 0);
    CHECK(dir.names().empty());
  }
  CHECK(load_or_generate(dir.path()));
}

TEST_CASE("fault E7: on a full disk no keys are made, and the room for them does not stay") {
  const TempDir dir;
  IdentityStoreOptions options = kSmall;
  options.rsa_bits = 1;  // a key that cannot be made: who tries says so
  const auto checked = on_small_disk(dir.path(), [&] {
    write_file(dir.file("other"), std::string(50'000, 'x'));
    const auto made = generate_identity(dir.path(), options);
    return !made && waits_for_disk(made.failure()) && dir.names() == std::vector<std::string>{"other"};
  });
  if (checked == InNamespace::kNotPossible) {
    WARN("no mount namespace here: not tried");
  } else {
    CHECK(checked == InNamespace::kTrue);
  }
  const auto unmade = generate_identity(dir.path(), options);
  REQUIRE_FALSE(unmade);
  CHECK_FALSE(waits_for_disk(unmade.failure()));
  CHECK(dir.names().empty());
}

TEST_CASE("keys that cannot be made are a failure") {
  TempDir dir;
  CHECK(!load_or_generate(dir.path(), {512, kAt}));
  CHECK(dir.names().empty());
}
