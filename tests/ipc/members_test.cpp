// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/members.h"

#include <catch2/catch.hpp>

#include "ipc/api_admin.h"

using namespace connd;
using namespace connd::ipc;

namespace {

template <class T>
std::string error_of(const char* json) {
  const auto out = read_params<T>(Json::parse(json));
  if (out) return "";
  CHECK(out.error().code == kInvalidParams);
  return out.error().message;
}

struct Inner {
  std::uint64_t n = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("n", self.n);
  }
};
struct Outer {
  std::vector<Inner> items;
  Inner one;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("items", self.items, Bounds{0, 3});
    io.required("one", self.one);
  }
};

}  // namespace

TEST_CASE("params are read, with defaults") {
  const auto open = read_params<ChannelOpenParams>(Json::parse(R"({"peer":"bob","uri":""})"));
  REQUIRE(open);
  CHECK(open->peer == "bob");
  CHECK(open->uri.empty());
  CHECK(open->timeout == 30);
  CHECK_FALSE(open->unique);
  const auto all = read_params<ChannelOpenParams>(
      Json::parse(R"({"peer":"b","uri":"a\u0000b","timeout":5,"unique":true,"strict_end":true})"));
  REQUIRE(all);
  CHECK(all->uri == std::string("a\0b", 3));
  CHECK(all->timeout == 5);
  CHECK(all->unique);
  CHECK(all->strict_end);
}

TEST_CASE("fault F: what has one length alone is said to be an id, and what was given instead") {
  const auto said = [](const std::string& id) {
    return error_of<Alias>(Json{{"name", "bob"}, {"device", id}}.dump().c_str());
  };
  CHECK(said(std::string(64, 'a')).empty());
  CHECK(said(std::string(40, 'a')) ==
        "device: expected 64 hexadecimal digits; this has 40, as the id of an account or CA");
  CHECK(said(std::string(63, 'a')) == "device: expected 64 hexadecimal digits; this has 63");
  CHECK(said("carol") == "device: expected 64 hexadecimal digits; this has 5 characters");
}

TEST_CASE("each wrong member is named") {
  using P = ChannelOpenParams;
  CHECK(error_of<P>(R"({"uri":"x"})") == "peer: missing");
  CHECK(error_of<P>(R"({"peer":1,"uri":"x"})") == "peer: expected a string");
  CHECK(error_of<P>(R"({"peer":"","uri":"x"})") == "peer: expected 1 to 128 bytes");
  CHECK(error_of<P>(R"({"peer":"b","uri":null})") == "uri: expected a string");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","timeout":"5"})") == "timeout: expected a number");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","timeout":0})") == "timeout: expected 0.001 to 3600");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","timeout":3600.5})") == "timeout: expected 0.001 to 3600");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","unique":1})") == "unique: expected true or false");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","foo":1})") == "unknown member 'foo'");
  CHECK(error_of<P>(R"({"peer":"b","uri":"x","fds":1})") == "unknown member 'fds'");
  CHECK(error_of<ChannelParams>(R"({"channel":0})") == "channel: expected 1 to 9007199254740991");
  CHECK(error_of<ChannelParams>(R"({"channel":-1})") == "channel: expected a whole number, not negative");
  CHECK(error_of<ChannelParams>(R"({"channel":1.5})") == "channel: expected a whole number, not negative");
  CHECK(error_of<ChannelParams>(R"({"channel":9007199254740992})") == "channel: expected 1 to 9007199254740991");
  CHECK(error_of<ChannelParams>(R"({"channel":9007199254740991})").empty());
  CHECK(error_of<ListenAddParams>(R"({"uri":"x","mode":"maybe"})") == "mode: expected \"auto\" or \"ask\"");
  CHECK(error_of<ListenAddParams>(R"({"uri":"x","mode":[]})") == "mode: expected \"auto\" or \"ask\"");
  CHECK(error_of<Nothing>(R"({"a":1})") == "unknown member 'a'");
  CHECK(error_of<Nothing>("7") == "expected an object");
  const std::string long_uri = Json{{"peer", "b"}, {"uri", std::string(kMaxUriBytes + 1, 'u')}}.dump();
  CHECK(error_of<P>(long_uri.c_str()) == "uri: expected 0 to 65000 bytes");
}

TEST_CASE("errors inside lists and objects say where") {
  CHECK(error_of<Outer>(R"({"items":[{"n":1},{"n":"x"}],"one":{"n":1}})") ==
        "items[1].n: expected a whole number, not negative");
  CHECK(error_of<Outer>(R"({"items":[{"n":1},7],"one":{"n":1}})") == "items[1]: expected an object");
  CHECK(error_of<Outer>(R"({"items":[],"one":{"n":1,"m":2}})") == "one.unknown member 'm'");
  CHECK(error_of<Outer>(R"({"items":{},"one":{"n":1}})") == "items: expected an array");
  CHECK(error_of<Outer>(R"({"items":[1,2,3,4],"one":{"n":1}})") == "items: expected 0 to 3 items");
  CHECK(error_of<Outer>(R"({"items":[{"n":1}],"one":{"n":1}})").empty());
}

TEST_CASE("a client ignores members that a newer daemon adds, and reasons it does not know") {
  const auto closed = read_result<ChannelClosed>(
      Json::parse(R"({"channel":1,"reason":"moon-phase","bytes_in":1,"bytes_out":2,"new":[]})"));
  REQUIRE(closed);
  CHECK(closed->reason == Reason::kInternal);
  CHECK(closed->bytes_out == 2);
}

TEST_CASE("what is written is read again") {
  ChannelInfo info;
  info.channel = 7;
  info.uri = std::string("a\0\xC3\xA9", 4);
  info.direction = Direction::kIncoming;
  info.state = ChannelState::kOpening;
  info.uid = 1000;
  ChannelInfo plain;
  plain.channel = 8;
  const Json json = write_members(ChannelListResult{{info, plain}});
  CHECK(json["channels"][0]["direction"] == "incoming");
  CHECK_FALSE(json["channels"][1].contains("uid"));
  const auto back = read_params<ChannelListResult>(Json::parse(json.dump()));
  REQUIRE(back);
  REQUIRE(back->channels.size() == 2);
  CHECK(back->channels[0].uri == info.uri);
  CHECK(back->channels[0].uid == 1000U);
  CHECK(back->channels[1].state == ChannelState::kOpen);
  DaemonStatus status;
  status.limits = {{"max_channels", 5}};
  status.dht.bootstrap = {"a:1", "b:2"};
  const auto again = read_params<DaemonStatus>(write_members(status));
  REQUIRE(again);
  CHECK(again->dht.bootstrap == status.dht.bootstrap);
  CHECK(again->limits["max_channels"] == 5);
}

TEST_CASE("a struct describes itself") {
  const Json schema = schema_of<ChannelOpenParams>();
  CHECK(schema["type"] == "object");
  CHECK(schema["required"] == Json::array({"peer", "uri"}));
  CHECK(schema["properties"]["unique"] == Json::parse(R"({"type":"boolean"})"));
  CHECK(schema["properties"]["uri"]["maxLength"] == 65000);
  CHECK(schema_of<ListenAddParams>()["properties"]["mode"]["enum"] == Json::array({"auto", "ask"}));
  CHECK(schema_of<ChannelListResult>()["properties"]["channels"]["items"]["properties"].contains("bytes_in"));
}
