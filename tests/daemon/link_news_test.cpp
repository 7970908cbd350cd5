// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/link_news.h"

#include <cstring>
#include <vector>

#include <catch2/catch.hpp>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

using namespace connd::daemon;

namespace {

/// What one recv() gives: messages, each at its alignment.
class Messages {
 public:
  Messages& link(int index, bool running, std::uint16_t type = RTM_NEWLINK) {
    ifinfomsg body{};
    body.ifi_index = index;
    body.ifi_flags = static_cast<unsigned>(IFF_UP) | (running ? static_cast<unsigned>(IFF_RUNNING) : 0u);
    return add(type, &body, sizeof body);
  }
  Messages& route(unsigned char bits, std::uint16_t type = RTM_NEWROUTE, unsigned char table = RT_TABLE_MAIN,
                  unsigned char kind = RTN_UNICAST) {
    rtmsg body{};
    body.rtm_family = AF_INET;
    body.rtm_dst_len = bits;
    body.rtm_table = table;
    body.rtm_type = kind;
    return add(type, &body, sizeof body);
  }
  Messages& add(std::uint16_t type, const void* body, std::size_t size) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(size));
    const std::size_t at = bytes_.size();
    bytes_.resize(at + NLMSG_SPACE(size));
    std::memcpy(bytes_.data() + at, &header, sizeof header);
    if (size != 0) std::memcpy(bytes_.data() + at + NLMSG_HDRLEN, body, size);
    return *this;
  }
  bool told_to(LinkNews& news) const { return news.read(bytes_.data(), bytes_.size()); }
  std::vector<char>& bytes() { return bytes_; }

 private:
  std::vector<char> bytes_;  // from the heap: aligned for everything
};

}  // namespace

TEST_CASE("fault E00: a link that has its carrier again is news; what else is told of links is not") {
  LinkNews news;
  CHECK_FALSE(Messages().link(2, true).told_to(news));   // the first that is heard of it
  CHECK_FALSE(Messages().link(2, true).told_to(news));   // something else of it has changed
  CHECK_FALSE(Messages().link(2, false).told_to(news));  // the cable is out
  CHECK_FALSE(Messages().link(2, false).told_to(news));
  CHECK(Messages().link(2, true).told_to(news));
  CHECK_FALSE(Messages().link(2, true).told_to(news));
  CHECK(Messages().link(2, false).link(2, true).told_to(news));  // so fast that both come at once
  // Who was heard of when it lost its carrier had one before.
  CHECK_FALSE(Messages().link(3, false).told_to(news));
  CHECK(Messages().link(3, true).told_to(news));
  // One that is taken out and put in again.
  CHECK_FALSE(Messages().link(3, true, RTM_DELLINK).told_to(news));
  CHECK(Messages().link(3, true).told_to(news));
  CHECK(news.links() == 2);
}

TEST_CASE("fault E00: the default route is news, when it comes and when it goes; others are not") {
  LinkNews news;
  CHECK(Messages().route(0).told_to(news));
  CHECK(Messages().route(0, RTM_DELROUTE).told_to(news));
  CHECK_FALSE(Messages().route(24).told_to(news));                               // a container's
  CHECK_FALSE(Messages().route(0, RTM_NEWROUTE, RT_TABLE_LOCAL).told_to(news));  // the kernel's own
  CHECK_FALSE(Messages().route(0, RTM_NEWROUTE, RT_TABLE_MAIN, RTN_UNREACHABLE).told_to(news));
  CHECK(Messages().route(24).link(5, true).route(0).link(6, true).told_to(news));  // in the middle of others
  CHECK(news.links() == 2);
}

TEST_CASE("fault E00: messages that are cut short, or of another kind, are passed over") {
  const auto all = Messages().route(24).link(2, false).route(0).bytes();
  for (std::size_t size = 0; size < all.size(); ++size) {
    LinkNews news;
    const std::vector<char> some(all.begin(),
                                 all.begin() + static_cast<std::ptrdiff_t>(size));  // the end is where ASan sees
    CHECK_FALSE(news.read(some.data(), some.size()));
  }
  LinkNews news;
  CHECK_FALSE(Messages().add(RTM_NEWADDR, "abcdefgh", 8).add(NLMSG_DONE, nullptr, 0).told_to(news));
  // A body that is shorter than its kind has.
  CHECK_FALSE(Messages().add(RTM_NEWLINK, "abcd", 4).add(RTM_NEWROUTE, "\0\0\0", 3).told_to(news));
  CHECK(news.links() == 0);
  // A length that is shorter than the header, and one that is longer than what came: the rest is not read.
  for (const std::uint32_t length : {0u, 4u, 4'000u, 0xffff'ffffu}) {
    Messages messages;
    messages.link(2, false).route(0);
    std::memcpy(messages.bytes().data(), &length, sizeof length);
    CHECK_FALSE(messages.told_to(news));
  }
  CHECK(news.links() == 0);
  // Nothing pads the last one.
  Messages odd;
  odd.add(RTM_NEWROUTE, "\0\0\0", 3);
  CHECK_FALSE(news.read(odd.bytes().data(), odd.bytes().size() - 1));
}

TEST_CASE("fault E00: of more links than there is room for nothing is remembered") {
  LinkNews news;
  const int many = static_cast<int>(LinkNews::kMaxLinks);
  for (int i = 0; i < many + 100; ++i) CHECK_FALSE(Messages().link(i, false).told_to(news));
  CHECK(news.links() == LinkNews::kMaxLinks);
  CHECK(Messages().link(many - 1, true).told_to(news));
  CHECK_FALSE(Messages().link(many, true).told_to(news));
}
