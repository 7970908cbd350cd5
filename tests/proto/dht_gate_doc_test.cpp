// SPDX-License-Identifier: GPL-3.0-or-later
// proto/DHT_GATE.md is true: its vectors pass, or are dropped for the reason that it says.
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/dht_walker.h"
#include "tests/proto/dht_messages.h"

using namespace connd::proto;

namespace {

/// What stands in backquotes in the last two cells.
std::vector<std::string> last_codes(const std::string& line) {
  std::vector<std::string> codes;
  for (std::size_t from = line.find('`'); from != std::string::npos; from = line.find('`', from)) {
    const std::size_t end = line.find('`', from + 1);
    codes.push_back(line.substr(from + 1, end - from - 1));
    from = end + 1;
  }
  if (codes.size() > 2) codes.erase(codes.begin(), codes.end() - 2);
  return codes;
}

}  // namespace

TEST_CASE("fault A1: the vectors of DHT_GATE.md do as it says", "[dht]") {
  std::ifstream file(std::string(CONND_PROTO_SOURCES) + "/DHT_GATE.md");
  REQUIRE(file.good());
  bool marked = false;
  int vectors = 0;
  for (std::string line; std::getline(file, line);) {
    if (line == "<!-- vectors -->") marked = true;
    if (!marked || line.rfind("| ", 0) != 0 || line.find('`') == std::string::npos) continue;
    const auto codes = last_codes(line);
    REQUIRE(codes.size() == 2);
    CAPTURE(line);
    const ByteVector datagram = test::from_hex_text(codes[1]);
    REQUIRE_FALSE(datagram.empty());
    DhtMessage message;
    CHECK(fault_name(walk_dht_message(datagram, message)) == codes[0]);
    ++vectors;
  }
  CHECK(vectors == 22);
}
