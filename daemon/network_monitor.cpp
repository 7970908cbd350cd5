// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/network_monitor.h"

#include <array>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "daemon/local_addresses.h"

namespace connd::daemon {
namespace {

/// A move from one network to another is several messages: an address goes, one comes, a link is up.
constexpr proto::Duration kSettleTime = std::chrono::milliseconds(200);
// A link without carrier has addresses that are of no use: hence links, too.
constexpr unsigned kGroups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;

ipc::Fd open_socket() {
  ipc::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kGroups;
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return fd;
}

}  // namespace

NetworkMonitor::NetworkMonitor(Loop& loop, std::function<void(const std::vector<std::string>&)> on_change)
    : loop_(loop), on_change_(std::move(on_change)), socket_(open_socket()), settle_(loop, [this] { on_settled(); }) {
  if (!socket_) return;
  // After the socket is bound: what changes from here on is told.
  addresses_ = local_addresses(true).value_or(addresses_);
  poll_ = std::make_unique<Poll>(loop_, socket_.get(), [this](int) { on_readable(); });
  poll_->want(Poll::kReadable);
}

/// What the messages say is not read: they may be lost (ENOBUFS), and the addresses can be asked for.
void NetworkMonitor::on_readable() {
  std::array<char, 4096> ignored{};
  while (::recv(socket_.get(), ignored.data(), ignored.size(), 0) > 0) {
  }
  poll_->want(Poll::kReadable);
  if (!settle_.armed()) settle_.arm_in(kSettleTime);  // what comes often must not put it off
}

void NetworkMonitor::on_settled() {
  auto now = local_addresses(true);
  if (!now || *now == addresses_) return;  // a lifetime was renewed
  addresses_ = *std::move(now);
  on_change_(addresses_);
}

}  // namespace connd::daemon
