// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/error.h"

namespace connd::ipc {

int Error::exit_code() const {
  const int code = proto::reason_info(reason).exit_code;
  return code == 0 ? 1 : code;
}

Error make_error(Reason reason, std::string message, std::string detail) {
  const proto::ReasonInfo& info = proto::reason_info(reason);
  Error error;
  error.code = code_of(reason);
  error.reason = reason;
  error.retryable = info.retryable;
  error.message = message.empty() ? std::string(info.text) : std::move(message);
  error.detail = std::move(detail);
  return error;
}

Error make_rpc_error(int code, std::string message) {
  Error error = make_error(Reason::kInvalidArgument, std::move(message));
  error.code = code;
  return error;
}

}  // namespace connd::ipc
