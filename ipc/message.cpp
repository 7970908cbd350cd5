// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/message.h"

#include <array>
#include <optional>
#include <utility>

#include "ipc/limits.h"

namespace connd::ipc {
namespace {

Malformed malformed(Json id, int code, std::string text) {
  return {std::move(id), make_rpc_error(code, std::move(text))};
}

/// True when brackets outside strings nest deeper than kMaxNesting. Looked at before parsing, since copying and
/// destroying a deep tree recurses.
bool too_deep(std::string_view line) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxNesting) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

bool is_good_id(const Json& id) {
  if (id.is_string()) return id.get_ref<const std::string&>().size() <= kMaxIdBytes;
  if (id.is_number_unsigned()) return id.get<std::uint64_t>() <= kMaxSafeInteger;
  return id.is_number_integer() && id.get<std::int64_t>() >= -static_cast<std::int64_t>(kMaxSafeInteger);
}

namespace {

/// The id to answer with: the message's if it is a legal one, else null (JSON-RPC 2.0 section 5).
Json id_of(const Json& object) {
  const auto it = object.find("id");
  return it != object.end() && is_good_id(*it) ? *it : Json();
}

/// JSON-RPC 2.0 section 4: "jsonrpc: A String specifying the version … MUST be exactly "2.0"."
bool has_version(const Json& object) {
  const auto it = object.find("jsonrpc");
  return it != object.end() && it->is_string() && it->get_ref<const std::string&>() == "2.0";
}

std::optional<std::string> method_of(const Json& object) {
  const auto it = object.find("method");
  if (it == object.end() || !it->is_string()) return std::nullopt;
  std::string method = it->get<std::string>();
  if (method.empty() || method.size() > kMaxMethodBytes) return std::nullopt;
  return method;
}

/// An error value shows a stranger's member name: cut, so that an answer stays short.
std::string shown(const std::string& name) {
  return name.size() <= kMaxMethodBytes ? name : name.substr(0, kMaxMethodBytes) + "…";
}

std::optional<std::string> unknown_member(const Json& object) {
  static constexpr std::array<std::string_view, 4> kKnown = {"jsonrpc", "id", "method", "params"};
  for (const auto& [name, value] : object.items()) {
    bool known = false;
    for (std::string_view k : kKnown) known = known || k == name;
    if (!known) return name;
  }
  return std::nullopt;
}

/// `params` moved out of the object; an empty object where there is none; nothing when it is not an object.
std::optional<Json> take_params(Json& object) {
  const auto it = object.find("params");
  if (it == object.end()) return Json::object();
  if (!it->is_object()) return std::nullopt;
  return std::move(*it);
}

Message parse_for_server(Json object) {
  Json id = id_of(object);
  if (object.contains("result") || object.contains("error")) {
    return malformed(std::move(id), kInvalidRequest, "a reply, but the daemon asks its clients nothing");
  }
  if (const auto name = unknown_member(object)) {
    return malformed(std::move(id), kInvalidRequest, "unknown member '" + shown(*name) + "'");
  }
  if (!object.contains("id")) {
    // JSON-RPC would take this for a notification and stay silent. Whoever typed it forgot the id.
    return malformed(nullptr, kInvalidRequest, "id: missing; each request needs one to be answered");
  }
  if (id.is_null()) {
    return malformed(nullptr, kInvalidRequest, kGoodIdExpected);
  }
  auto method = method_of(object);
  if (!method) return malformed(std::move(id), kInvalidRequest, "method: expected a string of 1 to 64 bytes");
  auto params = take_params(object);
  if (!params) return malformed(std::move(id), kInvalidParams, "params: expected an object with named members");
  return Request{std::move(id), std::move(*method), std::move(*params)};
}

Message parse_for_client(Json object) {
  Json id = id_of(object);
  const auto error = object.find("error");
  if (error != object.end()) return ErrorReply{std::move(id), error_from_json(*error)};
  const auto result = object.find("result");
  if (result != object.end()) {
    if (id.is_null()) return malformed(nullptr, kInvalidRequest, "a result without an id");
    return Reply{std::move(id), std::move(*result)};
  }
  auto method = method_of(object);
  if (!method) return malformed(std::move(id), kInvalidRequest, "neither a reply nor a notification");
  if (object.contains("id")) return malformed(std::move(id), kInvalidRequest, "a request, but clients answer none");
  auto params = take_params(object);
  if (!params) return malformed(nullptr, kInvalidParams, "params: expected an object");
  return Notification{std::move(*method), std::move(*params)};
}

std::string dump(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

int count_of(const Json& object) {
  if (!object.is_object()) return 0;
  const auto it = object.find("fds");
  if (it == object.end()) return 0;
  if (!it->is_number_unsigned() || it->get<std::uint64_t>() > kMaxFdsPerMessage) return -1;
  return it->get<int>();
}

std::string text_member(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace

Message parse_message(std::string_view line, Role role) {
  if (too_deep(line)) return malformed(nullptr, kParseError, "JSON nested deeper than 32 levels");
  Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return malformed(nullptr, kParseError, "the line is not JSON");
  if (object.is_array()) {
    return malformed(nullptr, kInvalidRequest, "batches are not supported; send one request per line");
  }
  if (!object.is_object()) return malformed(nullptr, kInvalidRequest, "a message is a JSON object");
  if (!has_version(object)) return malformed(id_of(object), kInvalidRequest, "jsonrpc: expected \"2.0\"");
  return role == Role::kServer ? parse_for_server(std::move(object)) : parse_for_client(std::move(object));
}

int fds_of(const Message& message) {
  if (const auto* request = std::get_if<Request>(&message)) return count_of(request->params);
  if (const auto* note = std::get_if<Notification>(&message)) return count_of(note->params);
  if (const auto* reply = std::get_if<Reply>(&message)) return count_of(reply->result);
  return 0;
}

std::string request_line(const Json& id, std::string_view method, Json params) {
  return dump({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}});
}

std::string notification_line(std::string_view method, Json params) {
  return dump({{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}});
}

std::string reply_line(const Json& id, Json result) {
  return dump({{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}});
}

std::string error_line(const Json& id, const Error& error) {
  return dump({{"jsonrpc", "2.0"}, {"id", id}, {"error", to_json(error)}});
}

Json to_json(const Error& error) {
  Json data = {{"reason", proto::reason_name(error.reason)}, {"retryable", error.retryable}};
  if (!error.peer.empty()) data["peer"] = error.peer;
  if (!error.detail.empty()) data["detail"] = error.detail;
  return {{"code", error.code}, {"message", error.message}, {"data", std::move(data)}};
}

Error error_from_json(const Json& object) {
  Error error = make_error(Reason::kInternal);
  if (!object.is_object()) return error;
  const auto code = object.find("code");
  if (code != object.end() && code->is_number_integer()) error.code = code->get<int>();
  const std::string message = text_member(object, "message");
  if (!message.empty()) error.message = message;
  const auto data = object.find("data");
  if (data == object.end() || !data->is_object()) return error;
  const std::string reason = text_member(*data, "reason");
  error.detail = text_member(*data, "detail");
  if (const auto known = proto::reason_from_name(reason)) {
    error.reason = *known;
  } else if (error.detail.empty()) {
    error.detail = reason;  // of a newer daemon: the name is all that we can pass on
  }
  error.peer = text_member(*data, "peer");
  const auto retryable = data->find("retryable");
  error.retryable = retryable != data->end() && retryable->is_boolean() && retryable->get<bool>();
  return error;
}

}  // namespace connd::ipc
