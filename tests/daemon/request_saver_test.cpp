// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/request_saver.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using Kind = RequestLog::Kind;

namespace {

struct Saving {
  TempDir dir;
  Loop loop;
  RequestLog log = *RequestLog::open(dir.file("requests"));
  RequestSaver saver{loop, log};
  Timer poll{loop, [this] { look(); }};

  /// Runs the loop until nothing of that kind is unsaved.
  void until_saved(Kind kind) {
    wanted = kind;
    poll.arm_in(proto::Duration{0});
    loop.run();
    CHECK(!log.dirty(kind));
  }

 private:
  void look() { log.dirty(wanted) ? poll.arm_in(proto::Duration{1}) : loop.stop(); }
  Kind wanted = Kind::kAllowed;
};

proto::DeviceId device(std::uint8_t n) {
  proto::DeviceId id;
  id.bytes[0] = n;
  return id;
}

}  // namespace

TEST_CASE("fault J5: strangers' requests are written at the end, and meanwhile only now and then") {
  Saving saving;
  REQUIRE(saving.log.first_seen(device(1), 1, true));
  REQUIRE(saving.log.first_seen(device(2), 1, false));
  saving.saver.on_change();
  saving.until_saved(Kind::kAllowed);
  // A flood of them costs the disk one file in RequestSaver::kUnknownDelay.
  CHECK(saving.log.dirty(Kind::kUnknown));
  CHECK(saving.dir.names() == std::vector<std::string>{"requests"});
  saving.saver.flush();
  saving.until_saved(Kind::kUnknown);
  auto again = RequestLog::open(saving.dir.file("requests"));
  REQUIRE(again);
  CHECK(!again->first_seen(device(1), 1, true));
  CHECK(!again->first_seen(device(2), 1, false));
}
