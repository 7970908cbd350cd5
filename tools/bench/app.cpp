// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/app.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ipc/client.h"
#include "tools/bench/lab.h"

namespace connd::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBlockBytes = 256 * 1024;
constexpr std::size_t kPingBytes = 32;
/// Opens that wait for their answers at once; the API allows 4,096.
constexpr std::uint32_t kOpensInFlight = 1'024;
constexpr std::uint64_t kPingNanoseconds = 2'000'000'000;
constexpr std::uint32_t kLeastPings = 10;
constexpr milliseconds kPatience{60'000};
/// A task without an answer after this long hangs: a relay or daemon has gone, say.
constexpr timeval kTaskPatience{90, 0};
/// How soon a blocked app sees that it should stop.
constexpr int kStopMilliseconds = 50;

struct Command {
  Task task;
  std::uint32_t count;
};
struct Reply {
  double seconds;
  std::size_t samples;
  std::array<char, 256> error;
};

std::uint64_t now_nanoseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

[[noreturn]] void fail(const ipc::Error& error) {
  throw Failure(error.message + (error.detail.empty() ? "" : " (" + error.detail + ")"));
}

/// The inside of the process.
class Body {
 public:
  Body(Plug plug, Board& board, int command) : plug_(std::move(plug)), board_(board), command_(command) {
    for (const ipc::Fd& fd : plug_.fds) fds_.push_back(fd.get());
  }

  void run() {
    Command command{};
    while (::recv(command_, &command, sizeof command, 0) == sizeof command) {
      Reply reply{};
      const std::uint64_t start = now_nanoseconds();
      try {
        perform(command);
      } catch (const std::exception& error) {
        std::strncpy(reply.error.data(), error.what(), reply.error.size() - 1);
      }
      reply.samples = samples_;
      reply.seconds = static_cast<double>(now_nanoseconds() - start) * 1e-9;
      if (::send(command_, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) return;
    }
  }

 private:
  void perform(const Command& command) {
    switch (command.task) {
      case Task::kConnect:
        return connect();
      case Task::kOpen:
        return open(command.count);
      case Task::kOpenEach:
        return open_each(command.count);
      case Task::kExpect:
        return expect(command.count);
      case Task::kSend:
        return move(EPOLLOUT);
      case Task::kTake:
        return move(EPOLLIN);
      case Task::kPing:
        return ping(command.count);
      case Task::kEcho:
        return echo();
      case Task::kClose:
        return close();
    }
  }

  // ---- channels of a daemon ----

  void connect() {
    auto client = connect_client(plug_.socket_path);
    if (!client) fail(client.error());
    client_ = *std::move(client);
    if (!plug_.peer.empty()) return;
    const auto listening = client_->listen(plug_.uri, ipc::Client::ListenOptions{},
                                           [this](ipc::ChannelSocket channel) { take(std::move(channel)); });
    if (!listening) fail(listening.error());
  }

  void take(ipc::ChannelSocket channel) {
    fds_.push_back(channel.fd());
    channels_.push_back(std::move(channel));
  }

  void open(std::uint32_t count) {
    to_open_ = count;
    const std::size_t before = fds_.size();
    for (std::uint32_t i = 0; i < kOpensInFlight; ++i) open_next();
    const auto done = [&] { return failed_ || fds_.size() == before + count; };
    if (!client_->run_until(done, kPatience)) throw Failure("not all channels were opened in time");
    if (failed_) fail(*failed_);
  }

  void open_next() {
    if (to_open_ == 0) return;
    --to_open_;
    client_->connect_device(plug_.peer, plug_.uri, [this](ipc::Outcome<ipc::ChannelSocket> channel) {
      if (channel) {
        take(*std::move(channel));
      } else if (!failed_) {
        failed_ = channel.error();
      }
      open_next();
    });
  }

  void open_each(std::uint32_t count) {
    samples_ = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t start = now_nanoseconds();
      auto channel = client_->open(plug_.peer, plug_.uri);
      if (!channel) fail(channel.error());
      sample(start);
      take(*std::move(channel));
    }
  }

  void expect(std::uint32_t count) {
    const auto there = [&] { return fds_.size() >= count; };
    if (!client_->run_until(there, kPatience)) throw Failure("not all channels came in time");
  }

  void close() {
    fds_.clear();
    for (ipc::ChannelSocket& channel : channels_) channel.close();
    for (const ipc::ChannelSocket& channel : channels_) {
      const auto ended = [&] { return channel.end().has_value(); };
      if (!client_->run_until(ended, kPatience)) throw Failure("the end of a channel was not told in time");
    }
    channels_.clear();
  }

  // ---- bytes ----

  void sample(std::uint64_t start) { board_.samples[samples_++ % kMaxSamples] = now_nanoseconds() - start; }

  /// One block into, or out of, each channel that is ready, in turn.
  void move(std::uint32_t direction) {
    std::vector<std::uint8_t> block(kBlockBytes, 0x5a);
    const ipc::Fd poller(::epoll_create1(EPOLL_CLOEXEC));
    for (std::size_t i = 0; i < fds_.size(); ++i) {
      epoll_event event{};
      event.events = direction;
      event.data.u64 = i;
      ::fcntl(fds_[i], F_SETFL, O_NONBLOCK);
      if (::epoll_ctl(poller.get(), EPOLL_CTL_ADD, fds_[i], &event) != 0) fail_with_errno("epoll_ctl");
    }
    std::array<epoll_event, 256> events;
    while (board_.running) {
      const int ready = ::epoll_wait(poller.get(), events.data(), static_cast<int>(events.size()), kStopMilliseconds);
      for (int i = 0; i < ready; ++i) {
        const std::size_t index = events[static_cast<std::size_t>(i)].data.u64;
        const int fd = fds_[index];
        const ssize_t n = direction == EPOLLOUT ? ::send(fd, block.data(), block.size(), MSG_NOSIGNAL)
                                                : ::recv(fd, block.data(), block.size(), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) throw Failure("a channel ended while data moved");
        if (direction == EPOLLIN) board_.taken[index] += static_cast<std::uint64_t>(n);
      }
    }
  }

  void ping(std::uint32_t count) {
    const int fd = fds_.at(0);
    std::array<std::uint8_t, kPingBytes> bytes{};
    samples_ = 0;
    const std::uint64_t end = now_nanoseconds() + kPingNanoseconds;
    for (std::uint32_t i = 0; i < count && (i < kLeastPings || now_nanoseconds() < end); ++i) {
      const std::uint64_t start = now_nanoseconds();
      if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()) ||
          ::recv(fd, bytes.data(), bytes.size(), MSG_WAITALL) != static_cast<ssize_t>(bytes.size())) {
        throw Failure("a channel ended between round trips");
      }
      sample(start);
    }
  }

  void echo() {
    const int fd = fds_.at(0);
    const timeval patience{0, kStopMilliseconds * 1000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::array<std::uint8_t, kPingBytes> bytes{};
    while (board_.running) {
      const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n <= 0 || ::send(fd, bytes.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) {
        throw Failure("a channel ended between round trips");
      }
    }
  }

  Plug plug_;
  Board& board_;
  const int command_;
  std::vector<int> fds_;
  std::unique_ptr<ipc::Client> client_;
  std::vector<ipc::ChannelSocket> channels_;
  std::uint32_t to_open_ = 0;
  std::size_t samples_ = 0;
  std::optional<ipc::Error> failed_;
};

}  // namespace

App::App(Side side, Plug plug, Board& board) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) fail_with_errno("socketpair");
  command_.reset(fds[0]);
  ::setsockopt(command_.get(), SOL_SOCKET, SO_RCVTIMEO, &kTaskPatience, sizeof kTaskPatience);
  ipc::Fd theirs(fds[1]);
  child_ = Child::fork(side, [&] {
    command_.reset();
    Body(std::move(plug), board, theirs.get()).run();
  });
}

void App::start(Task task, std::uint32_t count) {
  const Command command{task, count};
  if (::send(command_.get(), &command, sizeof command, MSG_NOSIGNAL) != sizeof command) {
    throw Failure("an app of the bench has ended by itself");
  }
}

double App::finish() {
  Reply reply{};
  if (::recv(command_.get(), &reply, sizeof reply, 0) != sizeof reply) {
    throw Failure("an app of the bench has ended by itself, or hangs");
  }
  if (reply.error[0] != 0) throw Failure(reply.error.data());
  samples_ = reply.samples;
  return reply.seconds;
}

}  // namespace connd::bench
