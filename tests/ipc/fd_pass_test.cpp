// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/fd_pass.h"

#include <fcntl.h>
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

#include "tests/ipc/socket_pair.h"

using namespace connd;
using namespace connd::ipc;
using namespace connd::test;

TEST_CASE("an fd goes with the first byte, and is close-on-exec") {
  const auto [a, b] = socket_pair();
  const Fd fd = numbered_fd(42);
  const auto sent = send_with_fd(a.get(), proto::as_bytes("xyz"), fd.get());
  REQUIRE(sent);
  CHECK(sent->bytes == 3);
  std::deque<Fd> fds;
  std::array<std::uint8_t, 8> room{};
  // A short read gives the fd with its first byte (unix(7)); the rest comes plain.
  const auto first = receive_with_fds(b.get(), proto::MutableBytes(room).first(1), &fds);
  REQUIRE(first);
  CHECK(first->bytes == 1);
  CHECK_FALSE(first->truncated);
  REQUIRE(fds.size() == 1);
  CHECK(number_in(fds[0]) == 42);
  CHECK((::fcntl(fds[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
  const auto rest = receive_with_fds(b.get(), room, &fds);
  CHECK(rest->bytes == 2);
  CHECK(fds.size() == 1);
  CHECK(receive_with_fds(b.get(), room, &fds)->would_block);
}

TEST_CASE("more fds than the control buffer holds are a truncation, and none leaks") {
  const auto [a, b] = socket_pair();
  const int before = count_open_fds();
  {
    std::array<int, 5> raw{};
    std::array<Fd, 5> own;
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i] = numbered_fd(1);
      raw[i] = own[i].get();
    }
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof raw)> control{};
    char byte = 'x';
    iovec data{&byte, 1};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof raw);
    std::memcpy(CMSG_DATA(c), raw.data(), sizeof raw);
    REQUIRE(::sendmsg(a.get(), &message, 0) == 1);
    std::deque<Fd> fds;
    std::array<std::uint8_t, 8> room{};
    const auto received = receive_with_fds(b.get(), room, &fds);
    REQUIRE(received);
    CHECK(received->truncated);
    CHECK(fds.size() == 2);
  }
  CHECK(count_open_fds() == before);
}

TEST_CASE("where no fd is taken, one that came is dropped, and told of") {
  const auto [a, b] = socket_pair();
  const Fd fd = numbered_fd(1);
  const int before = count_open_fds();
  REQUIRE(send_with_fd(a.get(), proto::as_bytes("x"), fd.get()));
  std::array<std::uint8_t, 8> room{};
  const auto received = receive_with_fds(b.get(), room, nullptr);
  REQUIRE(received);
  CHECK(received->bytes == 1);
  CHECK(received->truncated);
  CHECK(count_open_fds() == before);
}

TEST_CASE("fds are refused where the kernel can refuse them, bytes are not") {
  const auto [a, b] = socket_pair();
  if (!refuse_fds(b.get())) {
    WARN("skipped: before Linux 6.16 they cannot be refused");
    return;
  }
  const Fd fd = numbered_fd(1);
  const auto refused = send_with_fd(a.get(), proto::as_bytes("x"), fd.get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error() == std::errc::operation_not_permitted);
  CHECK(send_with_fd(a.get(), proto::as_bytes("x"), -1)->bytes == 1);
  CHECK(send_with_fd(b.get(), proto::as_bytes("x"), fd.get())->bytes == 1);  // the other way is free
}

TEST_CASE("a full socket, and one whose other end is gone") {
  auto [a, b] = socket_pair();
  REQUIRE(set_nonblocking(a.get()));
  const std::string big(1 << 20, 'x');
  const auto part = send_with_fd(a.get(), proto::as_bytes(big), -1);
  REQUIRE(part);
  CHECK(part->bytes < big.size());
  CHECK(send_with_fd(a.get(), proto::as_bytes(big), -1)->outcome == Sent::Outcome::kWouldBlock);
  b.reset();
  const auto gone = send_with_fd(a.get(), proto::as_bytes("x"), -1);
  REQUIRE_FALSE(gone);
  CHECK(gone.error() == std::errc::broken_pipe);
  std::deque<Fd> fds;
  std::array<std::uint8_t, 8> room{};
  CHECK_FALSE(receive_with_fds(-1, room, &fds));
}

TEST_CASE("the kernel tells when all was read") {
  const auto [a, b] = socket_pair();
  CHECK(all_collected(a.get()));
  REQUIRE(send_with_fd(a.get(), proto::as_bytes("xy"), -1));
  CHECK_FALSE(all_collected(a.get()));
  std::deque<Fd> fds;
  std::array<std::uint8_t, 8> room{};
  REQUIRE(receive_with_fds(b.get(), proto::MutableBytes(room).first(1), &fds));
  CHECK_FALSE(all_collected(a.get()));
  REQUIRE(receive_with_fds(b.get(), room, &fds));
  CHECK(all_collected(a.get()));
  CHECK_FALSE(all_collected(-1));
}

TEST_CASE("peer credentials are those of the process that made the socket") {
  const auto [a, b] = socket_pair();
  const auto peer = peer_credentials(a.get());
  REQUIRE(peer);
  CHECK(peer->pid == ::getpid());
  CHECK(peer->uid == ::geteuid());
  CHECK(peer->gid == ::getegid());
  CHECK(peer->in_group(::getegid()));
  std::vector<gid_t> own(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  REQUIRE(::getgroups(static_cast<int>(own.size()), own.data()) >= 0);
  for (const gid_t group : own) CHECK(peer->in_group(group));
  CHECK_FALSE(peer->in_group(4'000'000'000));
  CHECK_FALSE(peer_credentials(-1));
}
