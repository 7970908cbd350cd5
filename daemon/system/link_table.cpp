// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/link_table.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "ipc/fd.h"

namespace connd::daemon {
namespace {

/// Calls `use(type, text of the value)` for each attribute of a message's rest.
template <class Use>
void for_each_attribute(std::string_view rest, Use use) {
  while (rest.size() >= sizeof(rtattr)) {
    rtattr attribute;
    std::memcpy(&attribute, rest.data(), sizeof attribute);
    if (attribute.rta_len < RTA_LENGTH(0) || attribute.rta_len > rest.size()) return;
    use(attribute.rta_type & NLA_TYPE_MASK, rest.substr(RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0)));
    rest.remove_prefix(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), rest.size()));
  }
}

/// Without the NUL at its end.
std::string_view text_of(std::string_view value) {
  return value.substr(0, value.find('\0'));
}

std::string_view kind_of(std::string_view link_info) {
  std::string_view kind;
  for_each_attribute(link_info, [&](int type, std::string_view value) {
    if (type == IFLA_INFO_KIND) kind = text_of(value);
  });
  return kind;
}

}  // namespace

LinkTable LinkTable::of_this_machine() {
  LinkTable out;
  const ipc::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr header{};
    ifinfomsg body{};
  } request;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (!fd || ::sendto(fd.get(), &request, sizeof request, 0, reinterpret_cast<const sockaddr*>(&kernel),
                      sizeof kernel) != static_cast<ssize_t>(sizeof request)) {
    return out;
  }
  // The kernel makes the next part of its answer when one is read: nothing is waited for.
  alignas(nlmsghdr) std::array<char, 32'768> buffer;
  for (;;) {
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size <= 0 || !out.read(buffer.data(), static_cast<std::size_t>(size))) return out;
  }
}

bool LinkTable::read(const char* data, std::size_t size) {
  std::size_t at = 0;
  while (size - at >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, data + at, sizeof header);
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > size - at) return false;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) return false;
    if (header.nlmsg_type == RTM_NEWLINK) add(data + at + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    at += std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), size - at);
  }
  return true;
}

void LinkTable::add(const char* message, std::size_t size) {
  if (size < sizeof(ifinfomsg) || links_.size() >= kMaxLinks) return;
  ifinfomsg body;
  std::memcpy(&body, message, sizeof body);
  Link link;
  link.index = body.ifi_index;
  const std::size_t begin = std::min<std::size_t>(NLMSG_ALIGN(sizeof body), size);
  for_each_attribute({message + begin, size - begin}, [&link](int type, std::string_view value) {
    if (type == IFLA_IFNAME) link.name = text_of(value);
    if (type == IFLA_MASTER && value.size() >= sizeof link.master) {
      std::memcpy(&link.master, value.data(), sizeof link.master);
    }
    if (type == IFLA_LINKINFO) {
      const std::string_view kind = kind_of(value);
      if (kind == "bridge") link.kind = Kind::kBridge;
      if (kind == "veth" || kind == "tun") link.kind = Kind::kGuest;
    }
  });
  links_.push_back(std::move(link));
}

bool LinkTable::is_guest_bridge(std::string_view interface) const {
  const auto bridge = std::find_if(links_.begin(), links_.end(), [&](const Link& l) { return l.name == interface; });
  if (bridge == links_.end() || bridge->kind != Kind::kBridge) return false;
  return std::all_of(links_.begin(), links_.end(),
                     [&](const Link& link) { return link.master != bridge->index || link.kind == Kind::kGuest; });
}

}  // namespace connd::daemon
