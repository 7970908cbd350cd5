// SPDX-License-Identifier: GPL-3.0-or-later
// Wide-area links between network namespaces, for kernels without netem: each is a pair of TUN devices, and what goes
// into one comes out of the other later, at a rate, perhaps not at all.
//
//     wan_link RTT_MS MBIT_S LOSS_PERCENT QUEUE_MS LINK…        LINK is NAMESPACE:DEVICE:NAMESPACE:DEVICE
//
// Namespaces are those of /run/netns. It makes the devices and says "ready"; who started it gives them addresses. On
// SIGTERM it says what each link has carried, and ends. One thread; at most QUEUE_MS of the rate is held for each
// direction, and what comes while that is full is dropped, as by a router.
//
// Without loss, packets pass as the kernel has joined them (up to 64 KiB; virtio's header tells of what): that costs a
// few hundred system calls a second at 200 Mbit/s instead of 70,000.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

namespace {

using Nanoseconds = std::int64_t;

/// virtio_net_hdr of linux/virtio_net.h, which is no C++.
struct JoinedHeader {
  std::uint8_t flags, gso_type;
  std::uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
static_assert(sizeof(JoinedHeader) == 10, "as TUNGETVNETHDRSZ says");

volatile sig_atomic_t stopped = 0;

[[noreturn]] void die(const std::string& what) {
  std::perror(("wan_link: " + what).c_str());
  std::exit(1);
}

Nanoseconds now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Nanoseconds{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct Settings {
  Nanoseconds delay;  ///< one way
  double bytes_per_ns;
  double loss;
  double queue_bytes;
};

int make_tun(const std::string& name_space, const std::string& device, bool joined) {
  const int where = open(("/run/netns/" + name_space).c_str(), O_RDONLY | O_CLOEXEC);
  if (where < 0 || setns(where, CLONE_NEWNET) != 0) die("namespace " + name_space);
  close(where);
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) die("device " + device);
  const unsigned offload = joined ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0u;
  if (ioctl(fd, TUNSETOFFLOAD, offload) != 0) die("offload of " + device);
  return fd;
}

/// One direction of a link.
class Pipe {
 public:
  Pipe(int in, int out) : in_(in), out_(out) {}
  [[nodiscard]] int in() const { return in_; }
  [[nodiscard]] Nanoseconds next() const { return held_.empty() ? INT64_MAX : held_.front().due; }

  void take(const Settings& settings, std::mt19937_64& chance) {
    static std::array<char, 80'000> buffer;
    for (int i = 0; i < 64; ++i) {  // then the others' turn
      const ssize_t size = read(in_, buffer.data(), buffer.size());
      if (size <= static_cast<ssize_t>(sizeof(JoinedHeader))) return;
      enter(settings, chance, {buffer.data(), buffer.data() + size});
    }
  }

  void give(Nanoseconds until) {
    for (; !held_.empty() && held_.front().due <= until; held_.pop_front()) {
      const auto& bytes = held_.front().bytes;
      if (write(out_, bytes.data(), bytes.size()) < 0) ++refused_;
    }
  }

  void report(int number) const {
    std::printf("link %d packets=%llu bytes=%llu lost=%llu overflow=%llu refused=%llu\n", number,
                static_cast<unsigned long long>(packets_), static_cast<unsigned long long>(bytes_),
                static_cast<unsigned long long>(lost_), static_cast<unsigned long long>(overflow_),
                static_cast<unsigned long long>(refused_));
  }

 private:
  struct Packet {
    Nanoseconds due;
    std::vector<char> bytes;
  };

  void enter(const Settings& settings, std::mt19937_64& chance, std::vector<char> bytes) {
    const Nanoseconds at = now();
    const double wire = wire_bytes(bytes);
    ++packets_;
    // What is still to be sent when this one comes is the queue.
    const double queued = static_cast<double>(std::max<Nanoseconds>(free_at_ - at, 0)) * settings.bytes_per_ns;
    if (queued + wire > settings.queue_bytes) {
      ++overflow_;
      return;
    }
    free_at_ = std::max(free_at_, at) + static_cast<Nanoseconds>(wire / settings.bytes_per_ns);
    if (std::uniform_real_distribution<double>(0, 1)(chance) < settings.loss) {
      ++lost_;
      return;
    }
    bytes_ += static_cast<std::uint64_t>(wire);
    held_.push_back({free_at_ + settings.delay, std::move(bytes)});
  }

  /// As many as it would be in packets of the usual size.
  static double wire_bytes(const std::vector<char>& bytes) {
    JoinedHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    const std::size_t size = bytes.size() - sizeof header;
    if (header.gso_size == 0 || size <= header.hdr_len) return static_cast<double>(size);
    const std::size_t packets = (size - header.hdr_len + header.gso_size - 1) / header.gso_size;
    return static_cast<double>(size + (packets - 1) * header.hdr_len);
  }

  int in_;
  int out_;
  std::deque<Packet> held_;
  Nanoseconds free_at_ = 0;
  std::uint64_t packets_ = 0, bytes_ = 0, lost_ = 0, overflow_ = 0, refused_ = 0;
};

std::array<std::string, 4> words_of(const std::string& link) {
  std::array<std::string, 4> out;
  std::size_t at = 0;
  for (std::string& word : out) {
    const std::size_t end = std::min(link.find(':', at), link.size());
    word = link.substr(at, end - at);
    at = std::min(end + 1, link.size());
  }
  if (out[3].empty()) {
    std::fprintf(stderr, "wan_link: '%s' is no NAMESPACE:DEVICE:NAMESPACE:DEVICE\n", link.c_str());
    std::exit(2);
  }
  return out;
}

void run(std::vector<Pipe>& pipes, const Settings& settings) {
  // Less is not worth a wake-up.
  constexpr Nanoseconds kTogether = 100'000;
  std::mt19937_64 chance(std::random_device{}());
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (std::size_t i = 0; i < pipes.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, pipes[i].in(), &event) != 0) die("epoll");
  }
  std::array<epoll_event, 64> ready;
  while (stopped == 0) {
    Nanoseconds next = INT64_MAX;
    const Nanoseconds at = now();
    for (Pipe& pipe : pipes) {
      pipe.give(at + kTogether);
      next = std::min(next, pipe.next());
    }
    const Nanoseconds wait = std::clamp<Nanoseconds>(next - now(), 0, 1'000'000'000);
    timespec time{wait / 1'000'000'000, wait % 1'000'000'000};
    const int count = epoll_pwait2(poll, ready.data(), static_cast<int>(ready.size()), &time, nullptr);
    for (int i = 0; i < count; ++i) pipes[ready[static_cast<std::size_t>(i)].data.u64].take(settings, chance);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 6) {
    std::fprintf(stderr, "usage: wan_link RTT_MS MBIT_S LOSS_PERCENT QUEUE_MS NAMESPACE:DEVICE:NAMESPACE:DEVICE…\n");
    return 2;
  }
  Settings settings{};
  settings.delay = static_cast<Nanoseconds>(std::atof(arguments[1]) / 2 * 1e6);
  settings.bytes_per_ns = std::atof(arguments[2]) * 1e6 / 8 / 1e9;
  settings.loss = std::atof(arguments[3]) / 100;
  settings.queue_bytes = settings.bytes_per_ns * std::atof(arguments[4]) * 1e6;
  std::vector<Pipe> pipes;
  for (int i = 5; i < count; ++i) {
    const auto words = words_of(arguments[i]);
    const bool joined = settings.loss == 0;
    const int near = make_tun(words[0], words[1], joined);
    const int far = make_tun(words[2], words[3], joined);
    pipes.emplace_back(near, far);
    pipes.emplace_back(far, near);
  }
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  std::printf("ready\n");
  std::fflush(stdout);
  run(pipes, settings);
  for (std::size_t i = 0; i < pipes.size(); ++i) pipes[i].report(static_cast<int>(i));
  return 0;
}
