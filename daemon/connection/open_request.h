// SPDX-License-Identifier: GPL-3.0-or-later
/// What an open asks for, and what becomes of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "daemon/connection/channel_socket.h"
#include "proto/device_id.h"
#include "proto/reason.h"

namespace connd::daemon {

struct OpenRequest {
  proto::DeviceId peer;  ///< zero: any device of `account`
  std::string uri;
  bool unique = false;
  ChannelOptions options;
  proto::Duration timeout = std::chrono::seconds(30);
  /// To a device of this account, the first of those announced that connects; or to that whose short id this is.
  std::optional<proto::AccountId> account = std::nullopt;
};
struct OpenedChannel {
  proto::ChannelHandle channel = 0;
  proto::DeviceId device;
  proto::AccountId account;
  std::string uri;
  ipc::Fd fd;           ///< the app's end; none when `joined`
  bool joined = false;  ///< a unique channel that an earlier open got, or will get
  bool half_close = true;
};
struct OpenError {
  proto::Reason reason;
  std::string text;
};
using OpenResult = std::variant<OpenedChannel, OpenError>;
using OpenNumber = std::uint64_t;

}  // namespace connd::daemon
