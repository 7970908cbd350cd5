// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelApps: the local side of channels.
#pragma once

#include <string>

#include "daemon/connection/channel_socket.h"
#include "daemon/trust/trust_store.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// A peer's request for a channel, as the local side hears of it.
struct IncomingChannel {
  proto::ChannelHandle channel;
  proto::DeviceId device;
  proto::AccountId account;
  Trust trust;  ///< for this uri
  std::string uri;
  bool half_close = true;
};

/// The local side: who listens, and who owns channels.
class ChannelApps {
 public:
  /// Answer by accept_channel or refuse_channel, at once or later.
  virtual void on_channel_requested(const IncomingChannel& request) = 0;
  virtual void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) = 0;
  virtual void on_channel_closed(const ChannelEnd& end) = 0;
  /// Whether the local side may have asked for finish_channel in a way that was not read yet.
  [[nodiscard]] virtual bool finish_may_come(proto::ChannelHandle /*channel*/) const { return false; }

 protected:
  ~ChannelApps() = default;
};

}  // namespace connd::daemon
