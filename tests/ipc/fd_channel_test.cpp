// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/fd_channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ipc/fd_pass.h"
#include "tests/ipc/socket_pair.h"

using namespace connd;
using namespace connd::ipc;
using namespace connd::test;

namespace {

struct Ends {
  std::pair<Fd, Fd> sockets = socket_pair();
  FdChannel server{std::move(sockets.first), {.role = Role::kServer}};
  FdChannel client{std::move(sockets.second), {.role = Role::kClient}};
};

/// A channel in the given role, and the bare other end.
struct Half {
  explicit Half(Role role, FdChannel::Options options = {}) {
    auto pair = socket_pair();
    options.role = role;
    channel = std::make_unique<FdChannel>(std::move(pair.first), options);
    raw = std::move(pair.second);
  }
  FdChannel::Outcome read() {
    while (channel->on_readable()) {
    }
    return channel->next();
  }
  FdChannel::Ended ended() {
    const auto outcome = read();
    REQUIRE(std::holds_alternative<FdChannel::Ended>(outcome));
    return std::get<FdChannel::Ended>(outcome);
  }
  std::unique_ptr<FdChannel> channel;
  Fd raw;
};

std::string with_fd(int id) {
  return reply_line(id, {{"fds", 1}, {"n", id}});
}
FdChannel::Incoming take(FdChannel& channel) {
  auto outcome = channel.next();
  REQUIRE(std::holds_alternative<FdChannel::Incoming>(outcome));
  return std::move(std::get<FdChannel::Incoming>(outcome));
}
bool needs_more(FdChannel& channel) {
  return std::holds_alternative<FdChannel::NeedMore>(channel.next());
}

/// In a process of its own, as a user that is not root: sends fds that nobody reads until the kernel refuses (too many
/// are in flight for this user), then reads them all. 0, or the number of the step that went wrong.
int meet_kernel_limit(Fd sender, Fd receiver) {
  constexpr int kFds = 300;
  constexpr rlim_t kLimit = 100;
  if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = kLimit;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
  FdChannel server(std::move(sender), {.role = Role::kServer, .max_uncollected_fds = kFds});
  FdChannel client(std::move(receiver), {.role = Role::kClient});
  int sent = 0;
  while (sent < kFds && !server.stalled_for_fds()) {
    if (!server.send(with_fd(sent), Fd(::dup(0)))) return 3;
    server.on_writable();
    ++sent;
  }
  if (!server.stalled_for_fds()) return 4;
  if (server.wants_write()) return 5;
  if (server.queued_fds() != 1) return 6;  // the one that was refused is kept
  int got = 0;
  while (got < sent) {
    if (!client.on_readable()) server.retry_fds();
    for (auto outcome = client.next(); !std::holds_alternative<FdChannel::NeedMore>(outcome); outcome = client.next()) {
      auto* in = std::get_if<FdChannel::Incoming>(&outcome);
      if (in == nullptr || !in->fd || std::get<Reply>(in->message).id != got) return 7;
      ++got;
    }
  }
  return server.queued_bytes() == 0 ? 0 : 8;
}

}  // namespace

TEST_CASE("the kernel's limit of fds in flight: the fd is kept, and goes when there is room") {
  auto sockets = socket_pair();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(meet_kernel_limit(std::move(sockets.first), std::move(sockets.second)));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a plain line and the fd line after it, read in one go: the fd goes to its own line") {
  Ends ends;
  REQUIRE(ends.server.send(reply_line(1, Json::object())));
  REQUIRE(ends.server.send(with_fd(2), numbered_fd(2)));
  ends.server.on_writable();
  REQUIRE(ends.client.on_readable());  // trap 1: one recvmsg gives both lines and the fd
  CHECK_FALSE(take(ends.client).fd);
  const auto second = take(ends.client);
  CHECK(number_in(second.fd) == 2);
  CHECK(needs_more(ends.client));
}

TEST_CASE("an fd line that is read byte by byte keeps its fd") {
  Half half(Role::kClient);
  const std::string line = with_fd(1) + "\n";
  const Fd fd = numbered_fd(7);
  REQUIRE(send_with_fd(half.raw.get(), proto::as_bytes(line).first(1), fd.get())->bytes == 1);  // trap 2
  for (std::size_t i = 1; i < line.size(); ++i) {
    REQUIRE(half.channel->on_readable());
    REQUIRE(needs_more(*half.channel));
    write_all(half.raw.get(), line.substr(i, 1));
  }
  REQUIRE(half.channel->on_readable());
  CHECK(number_in(take(*half.channel).fd) == 7);
}

TEST_CASE("a short send: the fd has gone with the first byte, the rest goes without it") {
  Ends ends;
  const int small = 4096;
  REQUIRE(::setsockopt(ends.server.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
  // Far longer than the socket's buffer, so that no sendmsg takes it whole (trap 3).
  REQUIRE(ends.server.send(reply_line(1, {{"fds", 1}, {"fill", std::string(300'000, 'x')}}), numbered_fd(9)));
  REQUIRE(ends.server.send(with_fd(2), numbered_fd(10)));
  const int before = count_open_fds();
  ends.server.on_writable();
  CHECK(ends.server.wants_write());
  CHECK(ends.server.queued_fds() == 1);
  CHECK(count_open_fds() == before - 1);  // our copy is closed already; the peer's is in flight
  std::vector<std::uint32_t> numbers;
  for (int i = 0; i < 10'000 && numbers.size() < 2; ++i) {
    ends.server.on_writable();
    ends.client.on_readable();
    auto outcome = ends.client.next();
    REQUIRE_FALSE(std::holds_alternative<FdChannel::Ended>(outcome));
    if (auto* in = std::get_if<FdChannel::Incoming>(&outcome)) numbers.push_back(number_in(in->fd));
  }
  CHECK(numbers == std::vector<std::uint32_t>{9, 10});
  CHECK(ends.server.queued_bytes() == 0);
}

TEST_CASE("1,000 fds in flight on one socket are never crossed") {
  Ends ends;
  constexpr std::uint32_t kCount = 1000;
  const int before = count_open_fds();
  std::uint32_t queued = 0;
  std::uint32_t got = 0;
  std::size_t most_uncollected = 0;
  while (got < kCount) {
    // All that are queued hold an fd of ours; 300 at a time keep this test within any fd limit.
    while (queued < kCount && ends.server.queued_fds() < 300) {
      if (queued % 3 == 0) REQUIRE(ends.server.send(notification_line("event", {{"seq", queued}})));
      REQUIRE(ends.server.send(with_fd(static_cast<int>(queued)), numbered_fd(queued)));
      ++queued;
    }
    ends.server.on_writable();
    most_uncollected = std::max(most_uncollected, ends.server.uncollected_fds());
    while (ends.client.on_readable()) {
      for (;;) {
        auto outcome = ends.client.next();
        if (std::holds_alternative<FdChannel::NeedMore>(outcome)) break;
        REQUIRE(std::holds_alternative<FdChannel::Incoming>(outcome));
        auto& in = std::get<FdChannel::Incoming>(outcome);
        const auto* reply = std::get_if<Reply>(&in.message);
        if (reply == nullptr) continue;
        REQUIRE(reply->id == got);
        REQUIRE(number_in(in.fd) == got);
        ++got;
      }
    }
    ends.server.retry_fds();
  }
  CHECK(most_uncollected == kMaxUncollectedFds);
  CHECK(count_open_fds() == before);
}

TEST_CASE("a client that does not read holds up its own fds only, up to the cap") {
  Ends ends;
  for (int i = 0; i < 70; ++i) REQUIRE(ends.server.send(with_fd(i), numbered_fd(static_cast<std::uint32_t>(i))));
  ends.server.on_writable();
  CHECK(ends.server.uncollected_fds() == 64);
  CHECK(ends.server.queued_fds() == 6);
  CHECK(ends.server.stalled_for_fds());
  CHECK_FALSE(ends.server.wants_write());  // polling for it would spin
  ends.server.retry_fds();
  CHECK(ends.server.stalled_for_fds());
  int got = 0;
  while (ends.client.on_readable()) {
    while (!needs_more(ends.client)) ++got;
  }
  CHECK(got == 64);
  ends.server.retry_fds();
  CHECK_FALSE(ends.server.stalled_for_fds());
  CHECK(ends.server.queued_fds() == 0);
}

TEST_CASE("a count without an fd closes the connection") {
  Half half(Role::kClient);
  write_all(half.raw.get(), with_fd(1) + "\n" + reply_line(2, 0) + "\n");
  const auto ended = half.ended();
  REQUIRE(ended.error);
  CHECK(ended.error->reason == Reason::kProtocolError);
  CHECK(std::holds_alternative<FdChannel::Ended>(half.channel->next()));
  CHECK_FALSE(half.channel->on_readable());
}

TEST_CASE("a wrong count closes the connection") {
  Half half(Role::kClient);
  write_all(half.raw.get(), reply_line(1, {{"fds", 2}}) + "\n");
  CHECK(half.ended().error->message == "fds: expected 0 or 1");
}

TEST_CASE("an fd that nobody asked for closes the connection, and itself") {
  const int before = count_open_fds();
  {
    Half half(Role::kServer);
    const std::string line = request_line(1, "hello", Json::object()) + "\n";
    const Fd fd = numbered_fd(1);
    REQUIRE(send_with_fd(half.raw.get(), proto::as_bytes(line), fd.get())->bytes == line.size());
    const auto ended = half.ended();
    CHECK(ended.answer);
    CHECK(ended.error->reason == Reason::kProtocolError);
    CHECK(count_open_fds() == before + 3);  // two sockets, and our own copy
  }
  CHECK(count_open_fds() == before);
}

TEST_CASE("a second fd before its line is complete is one too many") {
  Half half(Role::kClient);
  const Fd fd = numbered_fd(1);
  REQUIRE(send_with_fd(half.raw.get(), proto::as_bytes("{"), fd.get()));
  REQUIRE(half.channel->on_readable());
  CHECK(needs_more(*half.channel));
  REQUIRE(send_with_fd(half.raw.get(), proto::as_bytes(" "), fd.get()));
  CHECK(half.ended().error->reason == Reason::kProtocolError);
}

TEST_CASE("no free descriptor: the loss is noticed") {
  Half half(Role::kClient);
  const std::string line = with_fd(1) + "\n";
  const Fd fd = numbered_fd(1);
  REQUIRE(send_with_fd(half.raw.get(), proto::as_bytes(line), fd.get()));
  std::vector<Fd> filler;  // up to the limit of the process
  for (int n = ::dup(fd.get()); n >= 0; n = ::dup(fd.get())) filler.emplace_back(n);
  const auto outcome = half.read();
  filler.clear();
  REQUIRE(std::holds_alternative<FdChannel::Ended>(outcome));
  CHECK(std::get<FdChannel::Ended>(outcome).error->reason == Reason::kResourceLimit);
}

TEST_CASE("bad lines of a client are answered, one by one, and the connection lives") {
  Half half(Role::kServer);
  write_all(half.raw.get(),
            std::string("a\0b\n", 4) + "\xFF\n" + "nonsense\n" + request_line(1, "hello", Json::object()) + "\n");
  REQUIRE(half.channel->on_readable());
  for (int i = 0; i < 3; ++i) {
    const auto in = take(*half.channel);
    CHECK(std::get<Malformed>(in.message).error.code == kParseError);
  }
  CHECK(std::holds_alternative<Request>(take(*half.channel).message));
}

TEST_CASE("a line that never ends gets its answer before the close") {
  Half half(Role::kServer);
  REQUIRE(set_nonblocking(half.raw.get()));
  const std::string junk(64 << 10, 'x');
  int answers = 0;
  for (int i = 0; i < 40; ++i) {
    static_cast<void>(::send(half.raw.get(), junk.data(), junk.size(), MSG_NOSIGNAL));
    half.channel->on_readable();
    const auto outcome = half.channel->next();
    if (const auto* in = std::get_if<FdChannel::Incoming>(&outcome)) {
      const auto& bad = std::get<Malformed>(in->message);
      CHECK(bad.error.code == kInvalidRequest);
      CHECK(bad.error.message.find("65536") != std::string::npos);
      CHECK(i <= 2);
      ++answers;
      continue;
    }
    if (std::holds_alternative<FdChannel::NeedMore>(outcome)) continue;
    const auto& ended = std::get<FdChannel::Ended>(outcome);
    CHECK_FALSE(ended.answer);  // once is enough
    CHECK(answers == 1);
    CHECK(ended.error->code == kInvalidRequest);
    CHECK(i >= 8);
    return;
  }
  FAIL("2.5 MiB without LF were swallowed");
}

TEST_CASE("fault C1: a line with more than any request needs is answered with its id, and the connection lives") {
  Half half(Role::kServer);
  std::string many = R"({"jsonrpc":"2.0","id":"mine","method":"hello","params":{"client":[[])";
  for (std::size_t i = 0; i < kMaxRequestElements; ++i) many += ",[]";
  write_all(half.raw.get(), many + "]}}\n" + request_line(1, "hello", Json::object()) + "\n");
  REQUIRE(half.channel->on_readable());
  const auto in = take(*half.channel);
  const auto& bad = std::get<Malformed>(in.message);
  CHECK(bad.id == "mine");
  CHECK(bad.error.code == kInvalidRequest);
  CHECK(std::get<Request>(take(*half.channel).message).id == 1);
}

TEST_CASE("the end of the other side: after its lines, and not in the middle of one") {
  Half clean(Role::kServer);
  write_all(clean.raw.get(), request_line(1, "hello", Json::object()) + "\n");
  clean.raw.reset();
  while (clean.channel->on_readable()) {
  }
  CHECK(std::holds_alternative<Request>(take(*clean.channel).message));
  CHECK_FALSE(clean.ended().error);

  Half cut(Role::kServer);
  write_all(cut.raw.get(), R"({"jsonrpc":"2.0")");
  ::shutdown(cut.raw.get(), SHUT_WR);
  const auto ended = cut.ended();
  CHECK(ended.answer);
  CHECK(ended.error->code == kParseError);
}

TEST_CASE("a client that closes with answers unread has ended, as any other; a daemon that does so is lost") {
  // The kernel says ECONNRESET once, where it says EOF otherwise.
  for (const Role role : {Role::kServer, Role::kClient}) {
    INFO((role == Role::kServer ? "of a server" : "of a client"));
    Half half(role);
    CHECK(half.channel->send(request_line(1, "unread", Json::object())));
    half.channel->on_writable();
    write_all(half.raw.get(), request_line(7, "hello", Json::object()) + "\n");
    half.raw.reset();
    CHECK(half.channel->on_readable());
    CHECK(std::holds_alternative<FdChannel::Incoming>(half.channel->next()));
    const auto ended = half.ended();
    CHECK_FALSE(ended.answer);
    CHECK(ended.error.has_value() == (role == Role::kClient));
    if (ended.error) CHECK(ended.error->reason == Reason::kConnectionLost);
  }
}

TEST_CASE("the queue is bounded, and a lost peer is noticed") {
  Half half(Role::kServer, {.max_queued_bytes = 1000});
  const std::string line(400, 'x');
  CHECK(half.channel->send(line));
  CHECK(half.channel->send(line));
  const int before = count_open_fds();
  CHECK_FALSE(half.channel->send(line, numbered_fd(1)));
  CHECK(count_open_fds() == before);  // the fd was taken, and closed
  CHECK(half.channel->send(std::string(197, 'x')));
  CHECK(half.channel->queued_bytes() == 1000);
  half.raw.reset();
  half.channel->on_writable();
  CHECK(half.channel->queued_bytes() == 0);
  CHECK_FALSE(half.channel->wants_write());
  CHECK_FALSE(half.channel->send("x"));
  CHECK_FALSE(half.ended().error);
}
