// SPDX-License-Identifier: GPL-3.0-or-later
/// parse_message and the reading of params: nothing throws, every malformed line has an answer that can be sent, and
/// what was read is written and read again.
#include <string_view>

#include "ipc/api_admin.h"
#include "ipc/line_codec.h"
#include "ipc/message.h"
#include "tests/fuzz/check.h"

using namespace connd;
using namespace connd::ipc;

namespace {

void check_answer(const Malformed& bad) {
  const std::string line = error_line(bad.id, bad.error);
  FUZZ_CHECK(line.find('\n') == line.npos);
  FUZZ_CHECK(std::holds_alternative<ErrorReply>(parse_message(line, Role::kClient)));
}

template <class Params>
void read_one(const Json& params) {
  const auto read = read_params<Params>(params);
  if (!read) {
    FUZZ_CHECK(read.error().code == kInvalidParams && !read.error().message.empty());
    return;
  }
  FUZZ_CHECK(read_params<Params>(write_members(*read)));
}

void read_all(const Json& params) {
  read_one<HelloParams>(params);
  read_one<ChannelOpenParams>(params);
  read_one<ChannelCancelParams>(params);
  read_one<ChannelDeclineParams>(params);
  read_one<ListenAddParams>(params);
  read_one<TrustParams>(params);
  read_one<Alias>(params);
  static_cast<void>(read_result<ChannelClosed>(params));
  static_cast<void>(read_result<ChannelListResult>(params));
  static_cast<void>(read_result<DaemonStatus>(params));
  static_cast<void>(read_result<Snapshot>(params));
  if (const auto listen = read_params<ListenAddParams>(params)) static_cast<void>(listener_peers(listen->peers));
}

void server_reads(std::string_view line) {
  const Message message = parse_message(line, Role::kServer);
  if (const auto* bad = std::get_if<Malformed>(&message)) return check_answer(*bad);
  const auto& request = std::get<Request>(message);  // nothing else comes to a server
  FUZZ_CHECK(request.params.is_object());
  FUZZ_CHECK(fds_of(message) >= -1);
  // Text inside may not be UTF-8 when the line was not: the codec in front of us refuses such lines.
  if (is_utf8(line)) {
    const Message again = parse_message(request_line(request.id, request.method, request.params), Role::kServer);
    FUZZ_CHECK(std::holds_alternative<Request>(again));
  }
  read_all(request.params);
}

void client_reads(std::string_view line) {
  const Message message = parse_message(line, Role::kClient);
  FUZZ_CHECK(!std::holds_alternative<Request>(message));
  FUZZ_CHECK(fds_of(message) >= -1);
  if (const auto* reply = std::get_if<Reply>(&message)) read_all(reply->result);
  if (const auto* note = std::get_if<Notification>(&message)) read_all(note->params);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  server_reads(line);
  client_reads(line);
  return 0;
}
