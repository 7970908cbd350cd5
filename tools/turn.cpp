// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/turn.h"

namespace connd::tools {

std::optional<int> turn(ipc::Client& client, SignalFd& signals, Pumped* pumped) {
  PollSet set;
  auto daemon = PollSet::kNone;
  // Once the daemon is gone its fd stays readable: polled no more, lest the loop spin while output still drains.
  if (client.connected() || client.wants_write()) {
    daemon = set.add(client.fd(), static_cast<short>(POLLIN | (client.wants_write() ? POLLOUT : 0)));
  }
  const auto signal = set.add(signals.fd(), POLLIN);
  if (pumped != nullptr) pumped->prepare(set);
  set.wait();
  if (set.ready(daemon)) client.process();
  if (pumped != nullptr) pumped->run(set);
  if (const auto came = set.ready(signal) ? signals.next() : std::nullopt) return came;
  return signals.reader_gone() ? std::optional(SIGPIPE) : std::nullopt;
}

}  // namespace connd::tools
