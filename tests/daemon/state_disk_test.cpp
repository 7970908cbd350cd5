// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/state_disk.h"

#include <filesystem>
#include <future>

#include <catch2/catch.hpp>

#include "daemon/trust/stores.h"
#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

TrustSubject subject(std::uint8_t n) {
  proto::DeviceId id;
  id.bytes.fill(n);
  return TrustSubject(id);
}

/// Stores on a disk that works when it is let.
struct SlowDisk {
  TempDir dir;
  Stores stores = *Stores::open(dir.path());
  Loop loop;
  StateDisk disk{loop};
  int taken_back = 0;
  std::promise<void> gate;
  std::vector<std::string> told;

  SlowDisk() {
    stores.use(disk, [this] { ++taken_back; });
  }
  /// What comes from now on waits.
  void hold() {
    gate = {};
    disk.run([free = gate.get_future().share()] { return free.wait(), Outcome<void>(); }, [](const auto&) {});
  }
  void let() {
    gate.set_value();
    settle();
  }
  void settle() {
    disk.when_idle([this] { loop.stop(); });
    loop.run();
  }
  StateDisk::Done as(const std::string& name) {
    return [this, name](const Outcome<void>& outcome) { told.push_back(name + (outcome ? "" : ": no")); };
  }
  /// The store's file cannot be written; and can again.
  void break_it() { std::filesystem::rename(dir.path(), dir.path() + "-away"); }
  void mend() { std::filesystem::rename(dir.path() + "-away", dir.path()); }

  [[nodiscard]] Trust in_memory(std::uint8_t n) const { return stores.trust.state_of(subject(n)); }
  [[nodiscard]] Trust on_disk(std::uint8_t n) const { return Stores::open(dir.path())->trust.state_of(subject(n)); }
};

}  // namespace

TEST_CASE("fault D3: the disk does one thing after the other, in order, and elsewhere") {
  Loop loop;
  StateDisk disk(loop);
  std::vector<int> done;
  std::vector<int> told;
  for (int i = 0; i < 5; ++i) {
    disk.run(
        [&done, &loop, i] {
          done.push_back(loop.on_thread() ? -1 : i);
          return i == 3 ? Outcome<void>(failure(std::errc::io_error, "no")) : Outcome<void>();
        },
        [&told, i](const Outcome<void>& outcome) { told.push_back(outcome ? i : -i); });
  }
  CHECK(told.empty());
  bool idle = false;
  disk.when_idle([&] {
    idle = true;
    loop.stop();
  });
  CHECK(!idle);
  loop.run();
  CHECK(done == std::vector{0, 1, 2, 3, 4});
  CHECK(told == std::vector{0, 1, 2, -3, 4});
  idle = false;
  disk.when_idle([&] { idle = true; });
  CHECK(idle);
}

TEST_CASE("fault D3: trust is in force at once; what changes while the disk is busy goes to it together") {
  SlowDisk at;
  at.hold();
  REQUIRE(at.stores.trust.allow(subject(1), 10));
  at.stores.trust.when_stored(at.as("first"));
  REQUIRE(at.stores.trust.ban(subject(1), 11));
  REQUIRE(at.stores.trust.ban(subject(2), 12));
  at.stores.trust.when_stored(at.as("second"));
  CHECK(at.in_memory(1) == Trust::kBanned);
  CHECK(at.in_memory(2) == Trust::kBanned);
  CHECK(at.told.empty());
  CHECK(at.on_disk(1) == Trust::kUnknown);
  at.let();
  CHECK(at.told == std::vector<std::string>{"first", "second"});
  CHECK(at.on_disk(1) == Trust::kBanned);
  CHECK(at.on_disk(2) == Trust::kBanned);
  at.stores.trust.when_stored(at.as("nothing to wait for"));
  CHECK(at.told.size() == 3);
  CHECK(at.taken_back == 0);
}

TEST_CASE("fault D3: what the disk did not take is taken back, but for what was changed again") {
  SlowDisk at;
  REQUIRE(at.stores.trust.allow(subject(1), 10));
  REQUIRE(at.stores.aliases.set("kept", proto::DeviceId{}));
  at.settle();
  at.hold();
  at.break_it();
  REQUIRE(at.stores.trust.ban(subject(1), 11));
  REQUIRE(at.stores.aliases.remove("kept"));
  REQUIRE(at.stores.aliases.set("lost", proto::DeviceId{}));
  SECTION("and what came after it") {
    at.stores.trust.when_stored(at.as("ban"));
    REQUIRE(at.stores.trust.unset(subject(1)));
    REQUIRE(at.stores.trust.allow(subject(2), 12));
    at.stores.trust.when_stored(at.as("rest"));
    at.let();
    at.mend();
    CHECK(at.told == std::vector<std::string>{"ban: no", "rest: no"});
    CHECK(at.in_memory(1) == Trust::kAllowed);
    CHECK(at.in_memory(2) == Trust::kUnknown);
    CHECK(at.taken_back == 2);
  }
  SECTION("and the disk is well again") {
    at.stores.trust.when_stored([&](const Outcome<void>& outcome) {
      CHECK(!outcome);
      CHECK(at.in_memory(1) == Trust::kUnknown);  // that is of later
      at.mend();
    });
    REQUIRE(at.stores.trust.unset(subject(1)));
    REQUIRE(at.stores.trust.allow(subject(2), 12));
    at.stores.trust.when_stored(at.as("rest"));
    at.let();
    CHECK(at.told == std::vector<std::string>{"rest"});
    CHECK(at.in_memory(1) == Trust::kUnknown);
    CHECK(at.in_memory(2) == Trust::kAllowed);
    CHECK(at.taken_back == 1);
  }
  CHECK(at.on_disk(1) == at.in_memory(1));
  CHECK(at.on_disk(2) == at.in_memory(2));
  const Stores again = *Stores::open(at.dir.path());
  CHECK(again.aliases.list() == at.stores.aliases.list());
  CHECK(again.aliases.find("kept").has_value() != again.aliases.find("lost").has_value());
}

TEST_CASE("fault D3: a disk that hangs makes no queue that grows: further changes are refused, and change nothing") {
  SlowDisk at;
  at.hold();
  REQUIRE(at.stores.trust.allow(subject(1), 10));  // this one is being written
  for (std::size_t i = 0; i < kMaxUnsavedChanges; ++i) {
    const bool ban = i % 2 == 0;
    REQUIRE((ban ? at.stores.trust.ban(subject(2), 10) : at.stores.trust.allow(subject(2), 10)));
    at.stores.trust.when_stored(at.as("x"));
  }
  const auto more = at.stores.trust.ban(subject(3), 10);
  REQUIRE(!more);
  CHECK(more.failure().code == std::errc::resource_unavailable_try_again);
  CHECK(at.in_memory(3) == Trust::kUnknown);
  at.let();
  CHECK(at.told.size() == kMaxUnsavedChanges);
  CHECK(at.stores.trust.ban(subject(3), 10));
}

TEST_CASE("fault D3: revocation lists are in force at once; what the disk did not take is taken back") {
  SlowDisk at;
  const auto revoked = [&at] {
    return at.stores.crls.is_revoked(*alice_chain().certificate(0), *alice_chain().certificate(1));
  };
  const auto on_disk = [&at] { return Stores::open(at.dir.path())->crls.list().size(); };
  at.hold();
  const auto id = at.stores.crls.add(crl_pem(1, {7}));
  REQUIRE(id);
  at.stores.crls.when_stored(at.as("add"));
  CHECK(revoked());
  CHECK(at.told.empty());
  SECTION("stored") {
    at.let();
    CHECK(at.told == std::vector<std::string>{"add"});
    CHECK(revoked());
    CHECK(on_disk() == 1);
    at.hold();
    at.break_it();
    REQUIRE(*at.stores.crls.remove(*id));
    CHECK(!revoked());
    // The file is gone with its directory, which the disk takes for done; that it stays so cannot be said.
    at.stores.crls.when_stored(at.as("remove"));
    at.let();
    CHECK(at.told.back() == "remove: no");
    at.mend();
  }
  SECTION("not stored") {
    at.break_it();
    at.let();
    CHECK(at.told == std::vector<std::string>{"add: no"});
    CHECK(!revoked());
    CHECK(at.taken_back == 1);
    at.mend();
    CHECK(on_disk() == 0);
  }
  SECTION("not stored, removed and added again meanwhile") {
    REQUIRE(*at.stores.crls.remove(*id));
    REQUIRE(at.stores.crls.add(crl_pem(1, {7})));
    at.stores.crls.when_stored(at.as("again"));
    CHECK(revoked());
    at.let();
    CHECK(at.told == std::vector<std::string>{"add", "again"});
    CHECK(revoked());
    CHECK(on_disk() == 1);
  }
}

TEST_CASE("fault D1: a chain is known from memory; the disk gets it later, and what it did not take with the next") {
  SlowDisk at;
  auto& store = at.stores.certificates;
  const auto on_disk = [&at] { return Stores::open(at.dir.path())->certificates.size(); };
  at.hold();
  REQUIRE(store.put(alice_chain()));
  store.when_stored(at.as("alice"));
  CHECK(**store.find(alice_chain().device_id()) == alice_chain());
  CHECK(on_disk() == 0);
  SECTION("stored") {
    at.let();
    CHECK(at.told == std::vector<std::string>{"alice"});
    CHECK(on_disk() == 1);
    at.break_it();
    CHECK(**store.find(alice_chain().device_id()) == alice_chain());
    at.mend();
  }
  SECTION("not stored") {
    at.break_it();
    at.let();
    CHECK(at.told == std::vector<std::string>{"alice: no"});
    CHECK(**store.find(alice_chain().device_id()) == alice_chain());
    at.mend();
    REQUIRE(store.put(bob_chain()));
    at.settle();
    CHECK(on_disk() == 2);
  }
}
