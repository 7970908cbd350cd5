// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelTaker: whoever in this process takes channels on behalf of a local user. A client of the control socket is
/// one (IpcSession); a forwarder or a tunnel that the daemon runs itself is another.
///
/// It is told of its channels and of requests for them in the order in which they happen, on the loop's thread, from
/// within calls of LocalApps: it may not leave LocalApps from there, and answers requests in a later turn.
#pragma once

#include <cstddef>

#include "daemon/local_api/listener_table.h"
#include "ipc/api.h"
#include "ipc/fd.h"
#include "ipc/fd_pass.h"

namespace connd::daemon {

class ChannelTaker {
 public:
  /// From LocalApps::new_number(): never another's while the daemon runs.
  [[nodiscard]] virtual ClientNumber number() const = 0;
  /// For whom it works: reserved names, shares and limits go by it.
  [[nodiscard]] virtual const ipc::PeerCredentials& credentials() const = 0;
  /// Has no share to keep to, and knows of others' channels.
  [[nodiscard]] virtual bool admin() const = 0;
  /// False: it is about to leave, and takes no more channels. It is still told of the ends of those that it has.
  [[nodiscard]] virtual bool takes_channels() const = 0;
  /// It does not take what it is told: peers hear `busy`.
  [[nodiscard]] virtual bool congested() const = 0;
  /// It may have asked for something that was not read yet.
  [[nodiscard]] virtual bool behind() const = 0;
  /// Descriptors that it was given and that are still open in this process.
  [[nodiscard]] virtual std::size_t unsent_fds() const = 0;

  /// A channel of one of its listeners, with the app's end, or with a token instead.
  virtual void channel_opened(const ipc::ChannelOpened& opened, ipc::Fd fd) = 0;
  /// A request that it has to answer: LocalApps::take_asked(), and accept or refuse it.
  virtual void channel_requested(const ipc::ChannelRequested& request) = 0;
  virtual void channel_request_cancelled(const ipc::RequestCancelled& cancelled) = 0;
  /// The truth about the end of a channel that it has.
  virtual void channel_closed(const ipc::ChannelClosed& closed) = 0;

 protected:
  ~ChannelTaker() = default;
};

}  // namespace connd::daemon
