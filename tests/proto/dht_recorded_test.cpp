// SPDX-License-Identifier: GPL-3.0-or-later
/// What OpenDHT's nodes, Jami's and ours said in the end-to-end and interop tests (tests/e2e/dht_record.py): all of it
/// passes the gate. The files are inputs of the fuzz target dht_walker, too: a byte of flags, two of length, a
/// datagram.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

#include "proto/dht_gate.h"
#include "proto/dht_walker.h"

using namespace connd::proto;

namespace {

std::vector<std::pair<std::string, ByteVector>> recorded() {
  std::vector<std::pair<std::string, ByteVector>> out;
  for (const auto& entry : std::filesystem::directory_iterator(CONND_FUZZ_CORPUS "/dht_walker")) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("recorded_", 0) != 0) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    INFO(name);
    REQUIRE(content.size() > 3);
    REQUIRE(content.size() - 3 == load_u16(as_bytes(content).data() + 1));
    out.emplace_back(name, ByteVector(content.begin() + 3, content.end()));
  }
  return out;
}

}  // namespace

TEST_CASE("fault A1: everything that real nodes were heard to say passes the gate") {
  const auto all = recorded();
  CHECK(all.size() >= 25);
  unsigned whole = 0, sized = 0, parts = 0;
  for (const auto& [name, datagram] : all) {
    INFO(name);
    DhtMessage message;
    CHECK(walk_dht_message(datagram, message) == DhtFault::kNone);
    CHECK(message.bad_values.empty());
    DhtGate gate({{}, 0, [] { return std::uint32_t{0}; }});
    const auto received = gate.on_received(DhtAddress{}, datagram, TimePoint{});
    if (message.kind == DhtKind::kValueData) {
      CHECK(received.fault == DhtFault::kStrayPart);  // alone as it is here
      ++parts;
    } else if (!message.sized.empty()) {
      CHECK(received.what == DhtReceived::What::kTaken);
      ++sized;
    } else {
      CHECK(received.what == DhtReceived::What::kPass);
      ++whole;
    }
  }
  CHECK(whole > 0);
  CHECK(sized > 0);
  CHECK(parts > 0);
}
