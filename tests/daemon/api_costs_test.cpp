// SPDX-License-Identifier: GPL-3.0-or-later
// As channel_costs_test.cpp, of the local API's side: tests/channel_costs.py counts instructions in the functions
// below. Not one of the tests that run by themselves.
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "daemon/trust/trust_store.h"
#include "tests/daemon/api_pair.h"
#include "tests/daemon/fake_taker.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

OwnedChannel owned_by(const FakeTaker& taker, const std::string& uri) {
  return {taker.number(), taker.who.uid, taker.who.pid, {}, {}, uri, true};
}

TrustSubject subject(std::size_t n) {
  proto::DeviceId device;
  for (std::size_t i = 0; i < sizeof n; ++i) device.bytes[i] = static_cast<std::uint8_t>(n >> (8 * i));
  return TrustSubject(device);
}

constexpr std::size_t kPage = 256;

}  // namespace

// Each by a name that the counting knows.
extern "C" {

[[gnu::noinline]] void cost_own_one_more(LocalApps& apps, const FakeTaker& taker, proto::ChannelHandle channel) {
  apps.own(taker, channel, owned_by(taker, "one more"));
}

[[gnu::noinline]] void cost_owned_one_ends(LocalApps& apps, proto::ChannelHandle channel) {
  apps.on_channel_closed({channel, proto::Reason::kClosed, {}, 0, 0});
}

/// The page in the middle.
[[gnu::noinline]] std::size_t cost_page_of_channels(const LocalApps& apps, std::size_t channels) {
  std::size_t bytes = 0, left = kPage;
  apps.owners().each_after(channels / 2, [&](proto::ChannelHandle, const OwnedChannel& owned) {
    bytes += owned.uri.size();
    return --left > 0;
  });
  return bytes;
}

[[gnu::noinline]] std::size_t cost_page_of_trust(const TrustStore& store, std::size_t entries) {
  return store.list(subject(entries / 2), kPage).size();
}

/// With ten channels.
[[gnu::noinline]] void cost_taker_goes(LocalApps& apps, std::unique_ptr<FakeTaker>& taker,
                                       proto::ChannelHandle channel) {
  for (proto::ChannelHandle i = 0; i < 10; ++i) apps.own(*taker, channel + i, owned_by(*taker, "its"));
  taker.reset();
  for (proto::ChannelHandle i = 0; i < 10; ++i) apps.on_channel_closed({channel + i, proto::Reason::kClosed, {}, 0, 0});
}

}  // extern "C"

TEST_CASE("the local API's costs with many channels", "[.costs]") {
  const char* count = std::getenv("CONND_CHANNELS");
  const std::size_t channels = count != nullptr ? std::strtoull(count, nullptr, 10) : 1'000;
  Pair pair;
  LocalApps& apps = pair.bob.server->apps();
  FakeTaker taker(apps);
  TempDir dir;
  std::ofstream file(dir.file("trust.json"));
  for (std::size_t i = 1; i <= channels; ++i) {
    apps.own(taker, i, owned_by(taker, "idle " + std::to_string(i)));
    file << (i == 1 ? R"({"v":1,"entries":[)" : ",") << R"({"kind":"device","since":1,"state":"allowed","id":")"
         << subject(i).id() << R"("})";
  }
  file << "]}";
  file.close();
  const auto store = TrustStore::open(dir.file("trust.json"));
  REQUIRE(store);
  std::size_t seen = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    const proto::ChannelHandle next = channels + 1 + 100 * i;
    cost_own_one_more(apps, taker, next);
    cost_owned_one_ends(apps, next);
    auto other = std::make_unique<FakeTaker>(apps);
    cost_taker_goes(apps, other, next + 1);
    seen += cost_page_of_channels(apps, channels) + cost_page_of_trust(*store, channels);
  }
  CHECK(seen > 0);
  for (std::size_t i = 1; i <= channels; ++i) apps.on_channel_closed({i, proto::Reason::kClosed, {}, 0, 0});
}
