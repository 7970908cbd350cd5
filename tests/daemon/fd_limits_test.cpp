// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/fd_limits.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/select.h>

using namespace connd;
using namespace connd::daemon;

namespace {

// Sets RLIMIT_NOFILE's soft limit for a while.
class SoftLimit {
 public:
  explicit SoftLimit(rlim_t soft) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit limit{soft, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  ~SoftLimit() { setrlimit(RLIMIT_NOFILE, &before_); }
  [[nodiscard]] rlim_t hard() const { return before_.rlim_max; }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("channels get what is left of the limit") {
  // At 20,000 all but 500 can be channels; at 1,024 there is room for connections too.
  CHECK(FdLimits::derive(20'000, 20'000, 0).max_channels >= 19'500);
  CHECK(FdLimits::derive(20'000, 20'000, 0).shared == 20'000 - 64);
  CHECK(FdLimits::derive(1024, 1024, 0).max_channels == 720);
  CHECK(FdLimits::derive(1024, 1024, 0).of_strangers() == 16);
  CHECK(FdLimits::derive(20'000, 20'000, 100).max_channels == 100);
  CHECK(FdLimits::derive(1024, 4096, 5000).max_channels == 720);
  CHECK(FdLimits::derive(1024, 4096, 0).hard == 4096);
  CHECK(FdLimits::derive(64, 64, 0).max_channels == 0);
  CHECK(FdLimits::derive(10, 10, 0).shared == 0);
  CHECK(FdLimits::derive(65, 65, 0).max_channels == 1);
  for (std::uint64_t soft = 0; soft < 5000; ++soft) {
    const FdLimits limits = FdLimits::derive(soft, soft, 0);
    REQUIRE(limits.max_channels <= limits.shared);
    REQUIRE(limits.max_channels <= FdLimits::derive(soft + 1, soft + 1, 0).max_channels);
  }
}

TEST_CASE("the soft limit is raised to the hard one") {
  const SoftLimit low(128);
  const auto limits = raise_fd_limit(0);
  REQUIRE(limits);
  CHECK(limits->soft == low.hard());
  rlimit now{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &now) == 0);
  CHECK(now.rlim_cur == low.hard());
}

TEST_CASE("a lifted fd leaves the numbers below FD_SETSIZE to select()") {
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_max > FD_SETSIZE) {
    const SoftLimit high(limit.rlim_max);
    const int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(low >= 0);
    ipc::Fd lifted = lift_fd(ipc::Fd(low));
    CHECK(lifted.get() >= FD_SETSIZE);
    CHECK((fcntl(lifted.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(fcntl(low, F_GETFD) == -1);  // closed
    const int number = lifted.get();
    lifted = lift_fd(std::move(lifted));
    CHECK(lifted.get() == number);
  }
  const SoftLimit none_above(FD_SETSIZE);
  const int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(low >= 0);
  const ipc::Fd kept = lift_fd(ipc::Fd(low));
  CHECK(kept.get() == low);
}
