// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/signal.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

ByteVector hex(std::string_view text) {
  ByteVector out(text.size() / 2);
  REQUIRE(from_hex(text, out));
  return out;
}

// {"id": 2^53, "ice_msg": "u\np\n", "isAnswer": false, "connType": "", "jc": {"v": 1}}
const std::string kOurs =
    "85"
    "a26964cf0020000000000000"
    "a76963655f6d7367a4750a700a"
    "a86973416e73776572c2"
    "a8636f6e6e54797065a0"
    "a26a6381a17601";
// The same from a Jami peer, as an answer with id 1 and a connection type.
const std::string kJami =
    "84"
    "a2696401"
    "a76963655f6d7367a4750a700a"
    "a86973416e73776572c3"
    "a8636f6e6e54797065a3736970";

std::error_code verdict(const std::string& text) {
  return ConnectionRequest::decode(hex(text)).error();
}

}  // namespace

TEST_CASE("known requests, both ways") {
  const ConnectionRequest ours{ConnectionRequest::kMaxId, "u\np\n", false, "", 1};
  CHECK(to_hex(ours.encode()) == kOurs);
  CHECK(ConnectionRequest::decode(hex(kOurs)).value() == ours);
  const ConnectionRequest jami{1, "u\np\n", true, "sip", std::nullopt};
  CHECK(to_hex(jami.encode()) == kJami);
  CHECK(ConnectionRequest::decode(hex(kJami)).value() == jami);
}

TEST_CASE("unknown keys and keys in any order are no harm, connType may be missing") {
  // {1: nil, "zz": [1, {"a": 2.5}], "isAnswer": true, "ice_msg": "", "id": 5, "jc": {"w": "x", "v": 7}}
  const auto request = ConnectionRequest::decode(hex(
      "8601c0a27a7a920181a161cb4004000000000000a86973416e73776572c3a76963655f6d7367a0a2696405a26a6382a177a178a17607"));
  REQUIRE(request);
  CHECK(*request == ConnectionRequest{5, "", true, "", 7});
}

TEST_CASE("every truncation and every trailing byte is refused") {
  for (const std::string& text : {kOurs, kJami}) {
    const ByteVector whole = hex(text);
    for (std::size_t n = 0; n < whole.size(); ++n) {
      INFO(n);
      CHECK(ConnectionRequest::decode(Bytes(whole).first(n)).error() == Errc::kBadConnectionRequest);
    }
    CHECK(verdict(text + "c0") == Errc::kBadConnectionRequest);
  }
}

TEST_CASE("wrong types, ids out of range, missing and repeated keys are refused") {
  const std::string ice = "a76963655f6d7367a0";
  const std::string answer = "a86973416e73776572c2";
  const std::string id = "a2696401";
  CHECK_FALSE(verdict("83" + id + ice + answer));
  for (const std::string& bad : std::vector<std::string>{"82" + id + ice,
                                                         "82" + id + answer,
                                                         "82" + ice + answer,            // missing
                                                         "84" + id + id + ice + answer,  // repeated
                                                         "83a2696400" + ice + answer,
                                                         "83a26964ff" + ice + answer,                  // 0, -1
                                                         "83a26964cf0020000000000001" + ice + answer,  // 2^53 + 1
                                                         "83a26964a131" + ice + answer,
                                                         "83a26964cb3ff0000000000000" + ice + answer,
                                                         "83" + id + "a76963655f6d7367c400" + answer,
                                                         "83" + id + ice + "a86973416e7377657200",
                                                         "84" + id + ice + answer + "a8636f6e6e5479706501",
                                                         "84" + id + ice + answer + "a26a6301",
                                                         "84" + id + ice + answer + "a26a6380",
                                                         "84" + id + ice + answer + "a26a6381a17600",
                                                         "84" + id + ice + answer + "a26a6381a176a131",
                                                         std::string("93010203"),
                                                         std::string("c0"),
                                                         std::string("80"),
                                                         std::string("c1")}) {
    INFO(bad);
    CHECK(verdict(bad) == Errc::kBadConnectionRequest);
  }
}

TEST_CASE("sizes and nesting are bounded") {
  ConnectionRequest request{1, std::string(IceDescription::kMaxTextBytes, 'x'), false,
                            std::string(ConnectionRequest::kMaxConnectionTypeBytes, 't'), 1};
  CHECK(ConnectionRequest::decode(request.encode()).value() == request);
  CHECK(ConnectionRequest::decode(ByteVector(ConnectionRequest::kMaxEncodedBytes + 1)).error() == Errc::kTooLong);
  // A connType of 257 bytes: str 16.
  CHECK(verdict("84a2696401a76963655f6d7367a0a86973416e73776572c2a8636f6e6e54797065da0101" +
                to_hex(ByteVector(257, 't'))) == Errc::kTooLong);
  // An unknown key that nests 100 deep, one that claims 2^32-1 elements, one that claims 65,535 pairs.
  const std::string head = "84a2696401a76963655f6d7367a0a86973416e73776572c2a17a";
  std::string deep = head;
  for (int i = 0; i < 100; ++i) deep += "91";
  CHECK(verdict(deep + "01") == Errc::kBadConnectionRequest);
  CHECK(verdict(head + "ddffffffff") == Errc::kBadConnectionRequest);
  CHECK(verdict(head + "deffff") == Errc::kBadConnectionRequest);
  CHECK(verdict(head + "dbffffffff") == Errc::kBadConnectionRequest);
}

TEST_CASE("fault A4: a request may carry a chain, as bytes, within its bound") {
  // kOurs with {"jc-chain": h'0102'} behind it.
  const std::string carried = "86" + kOurs.substr(2) + "a86a632d636861696ec4020102";
  ConnectionRequest request{ConnectionRequest::kMaxId, "u\np\n", false, "", 1, {1, 2}};
  CHECK(to_hex(request.encode()) == carried);
  CHECK(ConnectionRequest::decode(hex(carried)).value() == request);
  request.chain.assign(ConnectionRequest::kMaxChainBytes, 7);
  CHECK(ConnectionRequest::decode(request.encode()).value() == request);
  const auto with = [](const std::string& value) { return "86" + kOurs.substr(2) + "a86a632d636861696e" + value; };
  CHECK(ConnectionRequest::decode(hex(with("c400"))).value().chain.empty());
  CHECK(verdict(with("a13031")) == Errc::kBadConnectionRequest);  // trailing
  CHECK(verdict(with("a130")) == Errc::kBadConnectionRequest);    // a str
  CHECK(verdict(with("c51801" + std::string(2 * 0x1801, '0'))) == Errc::kBadConnectionRequest);
  CHECK(verdict("87" + carried.substr(2) + "a86a632d636861696ec400") == Errc::kBadConnectionRequest);  // twice
}

TEST_CASE("fault B4: what a device tells itself") {
  ConnectionRequest note{5, "", false, "", 1, {}, SelfNote{7, 0}};
  CHECK(ConnectionRequest::decode(note.encode()).value() == note);
  note.self = SelfNote{ConnectionRequest::kMaxId, ConnectionRequest::kMaxId};
  CHECK(ConnectionRequest::decode(note.encode()).value() == note);
  const auto with = [](const std::string& value) { return "86" + kOurs.substr(2) + "a76a632d73656c66" + value; };
  CHECK(ConnectionRequest::decode(hex(with("920100"))).value().self == SelfNote{1, 0});
  for (const char* bad : {"920000", "9101", "93010000", "92c200", "9201c2", "01", "92cf002000000000000100"}) {
    INFO(bad);
    CHECK(verdict(with(bad)) == Errc::kBadConnectionRequest);
  }
}
