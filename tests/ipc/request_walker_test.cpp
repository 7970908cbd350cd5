// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/request_walker.h"

#include <string>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::ipc;
using Verdict = RequestWalker::Verdict;

namespace {

struct Seen {
  Verdict verdict;
  std::string id;
  bool operator==(const Seen&) const = default;
};

Seen walk(const std::string& line, std::size_t piece, bool administrator = false) {
  RequestWalker walker(administrator);
  for (std::size_t at = 0; at < line.size(); at += piece) walker.feed(std::string_view(line).substr(at, piece));
  return {walker.verdict(), walker.id()};
}

Verdict verdict_of(const std::string& line, bool administrator = false) {
  return walk(line, line.size(), administrator).verdict;
}

std::string request(const std::string& method, const std::string& params) {
  return R"({"jsonrpc":"2.0","id":7,"method":")" + method + R"(","params":{)" + params + "}}";
}

std::string elements(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += "1,";
  return out + "1";
}

}  // namespace

TEST_CASE("fault C1: a line is refused at the first thing that no request needs, however it is cut") {
  const std::string brackets = elements(0) + std::string(3 * kMaxRequestElements, '[');
  std::string arrays = "[[]";
  for (std::size_t i = 0; i < kMaxRequestElements; ++i) arrays += ",[]";
  const std::pair<std::string, Seen> lines[] = {
      {request("hello", R"("client":"x")"), {Verdict::kGood, "7"}},
      {R"({"id":"a b","method":"m"})", {Verdict::kGood, "\"a b\""}},
      {R"({"method":"m","id":-5})", {Verdict::kGood, "-5"}},
      {R"({"method":"id","a":"id","params":{"id":3}})", {Verdict::kGood, ""}},
      {"[1,2]", {Verdict::kGood, ""}},
      {"no JSON, at all: ]]}} \"", {Verdict::kGood, ""}},
      {brackets, {Verdict::kTooDeep, ""}},
      {arrays, {Verdict::kTooMany, ""}},
      {request("hello", R"("client":[)" + elements(kMaxRequestElements) + "]"), {Verdict::kTooMany, "7"}},
      {request("hello", R"("client":")" + std::string(1'000, '[') + '"'), {Verdict::kGood, "7"}},
      {request("hello", R"("client":"\")" + std::string(1'000, ',') + R"(\\")"), {Verdict::kGood, "7"}},
  };
  for (const auto& [line, expected] : lines) {
    INFO(line.substr(0, 100));
    for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}, line.size()}) {
      CHECK(walk(line, piece) == expected);
    }
  }
}

TEST_CASE("fault C1: a line is as long as its method needs, and short until that has come") {
  const std::string name = R"("uri":")" + std::string(kMaxPlainLineBytes, 'x') + '"';
  CHECK(verdict_of(request("channel.open", name)) == Verdict::kGood);
  CHECK(verdict_of(request("listen.add", name)) == Verdict::kGood);
  CHECK(verdict_of(request("hello", name)) == Verdict::kTooLong);
  CHECK(verdict_of(request("no.such", name)) == Verdict::kTooLong);
  // The method comes last; is written with an escape; is another member's value; is inside params.
  CHECK(verdict_of(R"({"params":{)" + name + R"(},"method":"channel.open"})") == Verdict::kTooLong);
  CHECK(verdict_of(request(R"(channel\u002eopen)", name)) == Verdict::kTooLong);
  CHECK(verdict_of(R"({"a":"method","b":"channel.open",)" + name + "}") == Verdict::kTooLong);
  CHECK(verdict_of(R"({"params":{"method":"channel.open",)" + name + "}}") == Verdict::kTooLong);
  CHECK(verdict_of(request("channel.open", R"("uri":")" + std::string(kMaxNameLineBytes, 'x') + '"')) ==
        Verdict::kTooLong);
}

TEST_CASE("fault C1: an administrator's methods have long lines for administrators alone") {
  const std::string list = request("crl.add", R"("pem":")" + std::string(kMaxCrlBytes, 'x') + '"');
  CHECK(verdict_of(list, true) == Verdict::kGood);
  CHECK(verdict_of(list, false) == Verdict::kTooLong);
  for (const char* method : {"crl.add", "identity.import", "identity.sign"}) {
    CHECK(max_request_bytes(method, false) == kMaxPlainLineBytes);
    CHECK(max_request_bytes(method, true) > kMaxChainBytes);
  }
}

TEST_CASE("the longest name that there may be fits, each byte escaped") {
  std::string name;
  for (std::size_t i = 0; i < kMaxUriBytes; ++i) name += "\\u0001";
  CHECK(verdict_of(request("channel.open", R"("peer":"x","uri":")" + name + '"')) == Verdict::kGood);
}

TEST_CASE("the exact bounds, and a walker that begins anew") {
  RequestWalker walker(false);
  const std::string most = '"' + std::string(kMaxPlainLineBytes - 1, 'x');
  CHECK(walker.feed(most) == Verdict::kGood);
  CHECK(walker.feed("x") == Verdict::kTooLong);
  CHECK(walker.feed("") == Verdict::kTooLong);
  walker.reset();
  CHECK(walker.feed(R"({"id":1,)") == Verdict::kGood);
  CHECK(walker.id() == "1");
  walker.reset();
  CHECK(walker.id().empty());
  CHECK(walker.feed('[' + elements(kMaxRequestElements - 1) + ']') == Verdict::kGood);
  walker.reset();
  CHECK(walker.feed('[' + elements(kMaxRequestElements) + ']') == Verdict::kTooMany);
}

TEST_CASE("an id that is too long is not kept") {
  const std::string line = R"({"id":")" + std::string(10 * kMaxIdBytes, 'i') + R"(","method":"m"})";
  CHECK(walk(line, line.size()).id.empty());
}
