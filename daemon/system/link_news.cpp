// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/link_news.h"

#include <algorithm>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

namespace connd::daemon {
namespace {

/// The body of a message, if it is long enough for one.
template <class Body>
const Body* body_of(const nlmsghdr& header) {
  if (header.nlmsg_len < NLMSG_LENGTH(sizeof(Body))) return nullptr;
  return static_cast<const Body*>(NLMSG_DATA(&header));
}

/// The way to the world. Others come and go with containers and VPNs, or are the kernel's own.
bool is_default_route(const rtmsg& route) {
  return route.rtm_dst_len == 0 && route.rtm_table == RT_TABLE_MAIN && route.rtm_type == RTN_UNICAST;
}

}  // namespace

bool LinkNews::read(const char* data, std::size_t size) {
  bool news = false;
  // Not NLMSG_NEXT: it counts the padding behind the last one, too, whether it is there or not.
  std::size_t at = 0;
  while (size - at >= sizeof(nlmsghdr)) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(data + at);
    if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > size - at) break;
    at += std::min<std::size_t>(NLMSG_ALIGN(header->nlmsg_len), size - at);
    if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) {
      const auto* link = body_of<ifinfomsg>(*header);
      const bool gone = header->nlmsg_type == RTM_DELLINK;
      if (link != nullptr && on_link(link->ifi_index, !gone && (link->ifi_flags & IFF_RUNNING) != 0)) news = true;
    } else if (header->nlmsg_type == RTM_NEWROUTE || header->nlmsg_type == RTM_DELROUTE) {
      const auto* route = body_of<rtmsg>(*header);
      if (route != nullptr && is_default_route(*route)) news = true;
    }
  }
  return news;
}

/// Links are told of for many reasons; their carrier is what counts, and that it is there again. One that is told of
/// for the first time is new, and its addresses tell, or has lost its carrier: it had one until now.
bool LinkNews::on_link(int index, bool running) {
  const auto known = running_.find(index);
  if (known == running_.end()) {
    if (running_.size() < kMaxLinks) running_.emplace(index, running);
    return false;
  }
  const bool again = running && !known->second;
  known->second = running;
  return again;
}

}  // namespace connd::daemon
