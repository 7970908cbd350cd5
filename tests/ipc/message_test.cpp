// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/message.h"

#include <set>

#include <catch2/catch.hpp>

#include "ipc/limits.h"

using namespace connd;
using namespace connd::ipc;

namespace {

struct BadLine {
  const char* line;
  int code;
  const char* id;    // of the answer, as JSON
  const char* text;  // part of the message
};

const Malformed& malformed(const Message& message) {
  REQUIRE(std::holds_alternative<Malformed>(message));
  return std::get<Malformed>(message);
}

}  // namespace

TEST_CASE("a request is read") {
  const auto message = parse_message(
      R"({"jsonrpc":"2.0","id":7,"method":"channel.open","params":{"peer":"bob","uri":"a\u0000b"}})", Role::kServer);
  const auto& request = std::get<Request>(message);
  CHECK(request.id == 7);
  CHECK(request.method == "channel.open");
  CHECK(request.params["uri"] == std::string("a\0b", 3));
  CHECK(fds_of(message) == 0);
}

TEST_CASE("params may be absent, an id a string or negative, and white space anywhere") {
  const auto message = parse_message(" {\"jsonrpc\" : \"2.0\", \"id\":\"x\", \"method\":\"hello\"}\r", Role::kServer);
  CHECK(std::get<Request>(message).params == Json::object());
  CHECK(std::get<Request>(message).id == "x");
  CHECK(std::get<Request>(parse_message(R"({"jsonrpc":"2.0","id":-5,"method":"m"})", Role::kServer)).id == -5);
}

TEST_CASE("every malformed line of a client has its answer") {
  const BadLine lines[] = {
      {"", kParseError, "null", "not JSON"},
      {"{", kParseError, "null", "not JSON"},
      {"hello", kParseError, "null", "not JSON"},
      {R"({"jsonrpc":"2.0","id":1,"method":"m"} x)", kParseError, "null", "not JSON"},
      {R"({"jsonrpc":"2.0","id":1e999,"method":"m"})", kParseError, "null", "not JSON"},
      {R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\ud800"}})", kParseError, "null", "not JSON"},
      {R"([{"jsonrpc":"2.0","id":1,"method":"m"}])", kInvalidRequest, "null", "batches"},
      {"[]", kInvalidRequest, "null", "batches"},
      {"42", kInvalidRequest, "null", "JSON object"},
      {"\"x\"", kInvalidRequest, "null", "JSON object"},
      {"null", kInvalidRequest, "null", "JSON object"},
      {R"({"id":1,"method":"m"})", kInvalidRequest, "1", "jsonrpc"},
      {R"({"jsonrpc":"1.0","id":1,"method":"m"})", kInvalidRequest, "1", "jsonrpc"},
      {R"({"jsonrpc":2.0,"id":1,"method":"m"})", kInvalidRequest, "1", "jsonrpc"},
      {R"({"jsonrpc":"2.0","method":"m"})", kInvalidRequest, "null", "id: missing"},
      {R"({"jsonrpc":"2.0","id":null,"method":"m"})", kInvalidRequest, "null", "id: expected"},
      {R"({"jsonrpc":"2.0","id":1.5,"method":"m"})", kInvalidRequest, "null", "id: expected"},
      {R"({"jsonrpc":"2.0","id":{},"method":"m"})", kInvalidRequest, "null", "id: expected"},
      {R"({"jsonrpc":"2.0","id":9007199254740992,"method":"m"})", kInvalidRequest, "null", "id: expected"},
      {R"({"jsonrpc":"2.0","id":-9007199254740992,"method":"m"})", kInvalidRequest, "null", "id: expected"},
      {R"({"jsonrpc":"2.0","id":1})", kInvalidRequest, "1", "method"},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", kInvalidRequest, "1", "method"},
      {R"({"jsonrpc":"2.0","id":1,"method":""})", kInvalidRequest, "1", "method"},
      {R"({"jsonrpc":"2.0","id":"a","method":"m","parms":{}})", kInvalidRequest, "\"a\"", "'parms'"},
      {R"({"jsonrpc":"2.0","id":1,"result":{}})", kInvalidRequest, "1", "asks its clients nothing"},
      {R"({"jsonrpc":"2.0","id":1,"error":{}})", kInvalidRequest, "1", "asks its clients nothing"},
      {R"({"jsonrpc":"2.0","id":1,"method":"m","params":[1]})", kInvalidParams, "1", "params"},
      {R"({"jsonrpc":"2.0","id":1,"method":"m","params":null})", kInvalidParams, "1", "params"},
  };
  for (const BadLine& bad : lines) {
    INFO(bad.line);
    const Message message = parse_message(bad.line, Role::kServer);
    const Malformed& answer = malformed(message);
    CHECK(answer.error.code == bad.code);
    CHECK(answer.id == Json::parse(bad.id));
    CHECK(answer.error.message.find(bad.text) != std::string::npos);
    CHECK(answer.error.reason == Reason::kInvalidArgument);
  }
}

TEST_CASE("long ids and methods, and deep nesting, are refused") {
  const std::string id(kMaxIdBytes + 1, 'i');
  CHECK(malformed(parse_message(R"({"jsonrpc":"2.0","id":")" + id + R"(","method":"m"})", Role::kServer)).id.is_null());
  const std::string method(kMaxMethodBytes + 1, 'm');
  CHECK(malformed(parse_message(R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"("})", Role::kServer)).id == 1);
  const auto nested = [](std::size_t depth) {
    return R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":)" + std::string(depth - 2, '[') +
           std::string(depth - 2, ']') + "}}";
  };
  CHECK(std::holds_alternative<Request>(parse_message(nested(kMaxNesting), Role::kServer)));
  CHECK(malformed(parse_message(nested(kMaxNesting + 1), Role::kServer)).error.code == kParseError);
  CHECK(malformed(parse_message(std::string(1'000'000, '['), Role::kServer)).error.code == kParseError);
  // Brackets inside a string do not nest.
  CHECK(std::holds_alternative<Request>(
      parse_message(R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}})",
                    Role::kServer)));
}

TEST_CASE("a client reads replies, errors and notifications, and what a newer daemon adds") {
  const auto reply = parse_message(R"({"jsonrpc":"2.0","id":3,"result":{"fds":1},"more":0})", Role::kClient);
  CHECK(std::get<Reply>(reply).id == 3);
  CHECK(fds_of(reply) == 1);
  const auto note = parse_message(R"({"jsonrpc":"2.0","method":"channel.opened","params":{"fds":1}})", Role::kClient);
  CHECK(std::get<Notification>(note).method == "channel.opened");
  CHECK(fds_of(note) == 1);
  const auto error =
      parse_message(R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}})", Role::kClient);
  CHECK(std::get<ErrorReply>(error).id.is_null());
  CHECK(std::get<ErrorReply>(error).error.code == -32700);
  for (const char* bad : {"x", "[]", "{}", R"({"jsonrpc":"2.0"})", R"({"jsonrpc":"2.0","result":1})",
                          R"({"jsonrpc":"2.0","id":1,"method":"m"})", R"({"jsonrpc":"2.0","method":"m","params":7})"}) {
    INFO(bad);
    CHECK(std::holds_alternative<Malformed>(parse_message(bad, Role::kClient)));
  }
}

TEST_CASE("a count of fds is 0 or 1") {
  const auto count = [](const char* fds) {
    return fds_of(
        parse_message(std::string(R"({"jsonrpc":"2.0","id":3,"result":{"fds":)") + fds + "}}", Role::kClient));
  };
  CHECK(count("0") == 0);
  CHECK(count("1") == 1);
  for (const char* bad : {"2", "-1", "1.0", "\"1\"", "null", "true", "99999999999"}) CHECK(count(bad) == -1);
}

TEST_CASE("what is built is read again") {
  const auto request = parse_message(request_line(5, "channel.close", {{"channel", 9}}), Role::kServer);
  CHECK(std::get<Request>(request).params == Json{{"channel", 9}});
  const auto reply = parse_message(reply_line("x", {{"a", 1}}), Role::kClient);
  CHECK(std::get<Reply>(reply).result == Json{{"a", 1}});
  const auto note = parse_message(notification_line("event", {{"seq", 1}}), Role::kClient);
  CHECK(std::get<Notification>(note).params == Json{{"seq", 1}});
  Error error = make_error(Reason::kBusy, "taken", "by uid 7");
  error.peer = "abc";
  const auto failed = parse_message(error_line(5, error), Role::kClient);
  CHECK(std::get<ErrorReply>(failed).error == error);
}

TEST_CASE("an error object is as documented") {
  const Json object = to_json(make_error(Reason::kNoListener));
  CHECK(object == Json::parse(R"({"code":-32006,"message":"nobody listens for this name",
                                  "data":{"reason":"no-listener","retryable":true}})"));
  std::set<int> codes;
  for (const proto::ReasonInfo& info : proto::kReasons) {
    CHECK(codes.insert(code_of(info.reason)).second);
    CHECK(error_from_json(to_json(make_error(info.reason))) == make_error(info.reason));
    CHECK(make_error(info.reason).exit_code() != 0);
  }
  // JSON-RPC 2.0 section 5.1 leaves these to servers.
  CHECK(*codes.begin() >= -32099);
  CHECK(*codes.rbegin() <= -32000);
}

TEST_CASE("an error object of a newer daemon, or none at all, is still an error") {
  const Error newer =
      error_from_json(Json::parse(R"({"code":-32080,"message":"m","data":{"reason":"moon-phase","retryable":true}})"));
  CHECK(newer.reason == Reason::kInternal);
  CHECK(newer.detail == "moon-phase");
  CHECK(newer.retryable);
  CHECK(newer.code == -32080);
  for (const char* odd : {"null", "7", "[]", "{}", R"({"data":7})", R"({"code":"x","data":{"reason":[]}})"}) {
    CHECK(error_from_json(Json::parse(odd)).reason == Reason::kInternal);
  }
}

TEST_CASE("text that is not UTF-8 does not break a line") {
  const std::string line = error_line(1, make_error(Reason::kInternal, "bad \xFF byte\nnext"));
  CHECK(line.find('\n') == std::string::npos);
  CHECK(std::holds_alternative<ErrorReply>(parse_message(line, Role::kClient)));
}
