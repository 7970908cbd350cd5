// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// JSON-RPC 2.0 messages: a line to one of five kinds, and lines from replies, errors, requests and notifications.
///
/// Both ends use it: the daemon for what clients send, the client library for what the daemon sends. Nothing here
/// throws; whatever a line holds, the outcome is a Message. No I/O, no thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

#include "ipc/error.h"

namespace connd::ipc {

using Json = nlohmann::json;

/// Which end reads. The server reads requests only and refuses members that it does not know; the client reads replies
/// and notifications, and ignores members that a newer daemon may add.
enum class Role { kServer, kClient };

/// Whether a request may have this id: kMaxIdBytes, kMaxSafeInteger.
[[nodiscard]] bool is_good_id(const Json& id);
inline constexpr const char* kGoodIdExpected = "id: expected a string of at most 128 bytes, or an integer below 2^53";

struct Request {
  Json id;  ///< a string or an integer
  std::string method;
  Json params;  ///< always an object
};
struct Notification {
  std::string method;
  Json params;  ///< always an object
};
struct Reply {
  Json id;
  Json result;
};
struct ErrorReply {
  Json id;  ///< null when the daemon could not tell which request it answers
  Error error;
};
/// A line that is none of these. The server answers it with `error_line(id, error)`, the client gives the daemon up.
struct Malformed {
  Json id;  ///< of the request, as far as it could be read; else null
  Error error;
};
using Message = std::variant<Request, Notification, Reply, ErrorReply, Malformed>;

/// Never throws, and gives a kind that fits the role: Request or Malformed to the server; Notification, Reply,
/// ErrorReply or Malformed to the client.
[[nodiscard]] Message parse_message(std::string_view line, Role role);

/// Value of the member `fds` of a request's or notification's params, or of a reply's result; 0 where there is none.
/// -1 when it is something else than an integer from 0 to kMaxFdsPerMessage.
[[nodiscard]] int fds_of(const Message& message);

/// The lines below have no LF. Text that is not UTF-8 is written with U+FFFD in place of what is wrong: whoever asks
/// for something looks at it before.
[[nodiscard]] std::string request_line(const Json& id, std::string_view method, Json params);
[[nodiscard]] std::string notification_line(std::string_view method, Json params);
[[nodiscard]] std::string reply_line(const Json& id, Json result);
[[nodiscard]] std::string error_line(const Json& id, const Error& error);

/// The `error` object, and back. Of an object that is not one, as much as can be read.
[[nodiscard]] Json to_json(const Error& error);
[[nodiscard]] Error error_from_json(const Json& object);

}  // namespace connd::ipc
