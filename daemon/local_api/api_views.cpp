// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/api_views.h"

#include "daemon/local_api/api.h"

namespace connd::daemon {
namespace {

double age(proto::TimePoint since, proto::TimePoint now) {
  return std::chrono::duration<double>(now - since).count();
}

}  // namespace

ipc::ChannelInfo channel_info(const ChannelView& view, const OwnedChannel* owned, proto::TimePoint now) {
  ipc::ChannelInfo info;
  info.channel = view.channel;
  info.peer = view.device.hex();
  info.account = view.account.hex();
  info.uri = view.uri;
  info.direction = view.outgoing ? ipc::Direction::kOutgoing : ipc::Direction::kIncoming;
  info.state = ipc::ChannelState::kOpen;
  info.bytes_in = view.bytes_in;
  info.bytes_out = view.bytes_out;
  info.age_s = age(view.since, now);
  if (owned != nullptr && owned->pid >= 0) {
    info.uid = owned->uid;
    info.pid = static_cast<std::uint64_t>(owned->pid);
  }
  return info;
}

ipc::ConnectionInfo connection_info(const ConnectionView& view, const Stores& stores, proto::TimePoint now) {
  ipc::ConnectionInfo info;
  info.direction = view.outgoing ? ipc::Direction::kOutgoing : ipc::Direction::kIncoming;
  info.age_s = age(view.since, now);
  if (view.socket == nullptr) {
    info.connection = view.attempt->id().number;
    info.peer = view.attempt->id().peer.hex();
    info.trust = api::to_api(stores.trust.of(view.attempt->id().peer));
    return info;
  }
  const MultiplexedSocket& socket = *view.socket;
  info.connection = socket.number();
  info.peer = socket.peer().hex();
  info.account = view.account.hex();
  info.state = view.closing ? ipc::ConnectionState::kClosing : ipc::ConnectionState::kConnected;
  info.trust = api::to_api(view.trust);
  info.channels = socket.channels().size();
  info.dialect = socket.link().native() ? ipc::Dialect::kNative : ipc::Dialect::kJami;
  info.local_address = socket.link().path().local;
  info.remote_address = socket.link().path().remote;
  info.path = socket.link().path().kind;
  if (const auto rtt = socket.mux_state()->keepalive().round_trip()) {
    info.rtt_ms = std::chrono::duration<double, std::milli>(*rtt).count();
  }
  const Link::Counts counts = socket.link().counts();
  info.bytes_in = counts.bytes_in;
  info.bytes_out = counts.bytes_out;
  return info;
}

}  // namespace connd::daemon
