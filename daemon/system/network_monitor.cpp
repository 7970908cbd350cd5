// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/network_monitor.h"

#include <array>
#include <cerrno>
#include <utility>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "daemon/system/local_addresses.h"

namespace connd::daemon {
namespace {

/// A move from one network to another is several messages: an address goes, one comes, a link is up.
constexpr proto::Duration kSettleTime = std::chrono::milliseconds(200);
// A link without carrier has addresses that are of no use: hence links, too.
constexpr unsigned kGroups =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

ipc::Fd open_socket() {
  ipc::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kGroups;
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return fd;
}

}  // namespace

NetworkMonitor::NetworkMonitor(Loop& loop, std::function<void(const std::vector<std::string>&)> on_change,
                               std::function<void()> on_stirred)
    : loop_(loop),
      on_change_(std::move(on_change)),
      on_stirred_(std::move(on_stirred)),
      socket_(open_socket()),
      settle_(loop, [this] { on_settled(); }) {
  if (!socket_) return;
  // After the socket is bound: what changes from here on is told.
  addresses_ = local_addresses(true).value_or(addresses_);
  poll_ = std::make_unique<Poll>(loop_, socket_.get(), [this](int) { on_readable(); });
  poll_->want(Poll::kReadable);
}

/// Of addresses the messages are not read: they may be lost (ENOBUFS), and the addresses can be asked for.
void NetworkMonitor::on_readable() {
  alignas(nlmsghdr) std::array<char, 16'384> buffer{};  // netlink(7) fills no more in one message by itself
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size > 0) {
      stirred_ = news_.read(buffer.data(), static_cast<std::size_t>(size)) || stirred_;
      continue;
    }
    if (size == 0 || errno == EAGAIN || errno == EWOULDBLOCK) break;
    if (errno == EINTR) continue;
    stirred_ = stirred_ || errno == ENOBUFS;
    if (errno != ENOBUFS) break;
  }
  poll_->want(Poll::kReadable);
  if (!settle_.armed()) settle_.arm_in(kSettleTime);  // what comes often must not put it off
}

void NetworkMonitor::on_settled() {
  const bool stirred = std::exchange(stirred_, false);
  auto now = local_addresses(true);
  if (now && *now != addresses_) {
    addresses_ = *std::move(now);
    return on_change_(addresses_);
  }
  if (stirred && on_stirred_) on_stirred_();
}

}  // namespace connd::daemon
