// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_socket.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "daemon/dht/dht_failure.h"
#include "daemon/event_loop/loop.h"
#include "daemon/system/resolver.h"
#include "proto/dht_limits.h"

namespace connd::daemon {
namespace {

/// A value of 60 kB is some fifty datagrams, and a node sends what it keeps for us all at once: more than a socket
/// holds by Linux's default. What is lost is not sent again, but all of it, three times, and then that node takes us
/// for dead. The kernel gives at most net.core.rmem_max.
constexpr int kReceiveBuffer_bytes = 4 << 20;
/// Datagrams taken at once: few enough that the lock is short, enough that a flood costs few system calls.
constexpr std::size_t kBatch = 32;
/// One more than the longest that passes: the gate sees what is too long.
constexpr std::size_t kSlot_bytes = proto::kMaxDhtDatagram + 1;

std::string port_is_taken(std::uint16_t port) {
  return "UDP port " + std::to_string(port) + " is taken (choose another for the DHT)";
}

sockaddr_storage parse_address(int family, const std::string& text, std::uint16_t port) {
  sockaddr_storage storage{};
  storage.ss_family = static_cast<sa_family_t>(family);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  void* address = family == AF_INET ? static_cast<void*>(&v4->sin_addr) : static_cast<void*>(&v6->sin6_addr);
  (family == AF_INET ? v4->sin_port : v6->sin6_port) = htons(port);
  if (!text.empty() && inet_pton(family, text.c_str(), address) != 1) {
    fail_dht("'" + text + "' is not an IPv" + (family == AF_INET ? "4" : "6") + " address to bind");
  }
  return storage;
}

/// Nothing when the machine does not have this family.
ipc::Fd bind_one(int family, const sockaddr_storage& address, const std::string& text, std::uint16_t port) {
  ipc::Fd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {};
  const int on = 1;
  if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer_bytes, sizeof kReceiveBuffer_bytes);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length_of_address(family)) == 0) return fd;
  if (errno == EADDRINUSE) fail_dht(port_is_taken(port));
  if (errno == EACCES) fail_dht("no permission to bind UDP port " + std::to_string(port) + " for the DHT");
  if (text.empty()) return {};
  fail_dht("cannot bind the DHT to " + text + ": " + std::generic_category().message(errno));
}

/// With a free port of the kernel's choice: the one that IPv4 has, if it is free in IPv6, too.
ipc::Fd bind_second(const sockaddr_storage& address, const std::string& text, std::uint16_t wanted,
                    std::uint16_t first) {
  if (wanted == 0 && first != 0) {
    sockaddr_storage same = address;
    reinterpret_cast<sockaddr_in6&>(same).sin6_port = htons(first);
    try {
      if (ipc::Fd fd = bind_one(AF_INET6, same, text, first)) return fd;
    } catch (const std::runtime_error&) {  // taken
    }
  }
  return bind_one(AF_INET6, address, text, wanted);
}

dht::SockAddr bound_address(const ipc::Fd& fd) {
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (!fd || ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) return {};
  return {bound, length};
}

std::uint32_t random_bits() {
  std::uint32_t bits = 0;
  // So few bytes are never cut short once the kernel's generator is seeded, which it was before any service started.
  if (::getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits)) std::abort();
  return bits;
}

proto::DhtGateConfig gate_config(const DhtSocketConfig& config) {
  proto::DhtGateConfig gate;
  static_assert(dht::InfoHash::size() == sizeof gate.node_id);
  std::copy_n(config.node_id.data(), gate.node_id.size(), gate.node_id.begin());
  gate.network = config.network;
  gate.random = random_bits;
  gate.signed_ids = config.signed_ids;
  gate.keep = config.keep;
  return gate;
}

/// The loop's clock, read on another thread.
proto::TimePoint now() {
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  return proto::TimePoint(std::chrono::duration_cast<proto::Duration>(since_start));
}

/// Which link a link-local address belongs to stands beside it in a sockaddr, and DhtAddress has no such place. Of such
/// an address the bytes 2 and 3 are always 0 (RFC 4291 2.5.6): there it stands while the gate has it.
bool is_link_local(const std::uint8_t* ip) {
  return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

proto::DhtAddress address_of(const sockaddr* from) {
  proto::DhtAddress out;
  if (from->sa_family == AF_INET) {
    const auto& v4 = *reinterpret_cast<const sockaddr_in*>(from);
    std::memcpy(out.ip.data(), &v4.sin_addr, 4);
    out.port = ntohs(v4.sin_port);
    return out;
  }
  const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(from);
  out.family = proto::DhtAddress::Family::kIpv6;
  std::memcpy(out.ip.data(), &v6.sin6_addr, 16);
  out.port = ntohs(v6.sin6_port);
  if (is_link_local(out.ip.data()) && v6.sin6_scope_id <= 0xffff) {
    out.ip[2] = static_cast<std::uint8_t>(v6.sin6_scope_id >> 8);
    out.ip[3] = static_cast<std::uint8_t>(v6.sin6_scope_id & 0xff);
  }
  return out;
}

dht::SockAddr sockaddr_of(const proto::DhtAddress& address) {
  sockaddr_storage storage{};
  if (address.family == proto::DhtAddress::Family::kIpv4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_addr, address.ip.data(), 4);
    v4.sin_port = htons(address.port);
    return {storage, sizeof(sockaddr_in)};
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  auto ip = address.ip;
  if (is_link_local(ip.data())) {
    v6.sin6_scope_id = static_cast<std::uint32_t>(ip[2] << 8 | ip[3]);
    ip[2] = ip[3] = 0;
  }
  std::memcpy(&v6.sin6_addr, ip.data(), 16);
  v6.sin6_port = htons(address.port);
  return {storage, sizeof(sockaddr_in6)};
}

/// 0, or the errno.
int send_datagram(int fd, const dht::SockAddr& to, const std::uint8_t* data, std::size_t size, int flags) {
  if (::sendto(fd, data, size, flags | MSG_NOSIGNAL, to.get(), to.getLength()) >= 0) return 0;
  return errno;
}

}  // namespace

// ---- DhtPort ----

DhtPort::DhtPort(const DhtSocketConfig& config)
    : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), gate_(gate_config(config)) {
  if (!wake_) fail_dht("the DHT's UDP socket cannot be opened: " + std::generic_category().message(errno));
  const auto address4 = parse_address(AF_INET, config.bind4, config.port);
  const auto address6 = parse_address(AF_INET6, config.bind6, config.port);
  fd4_ = bind_one(AF_INET, address4, config.bind4, config.port);
  bound4_ = bound_address(fd4_);
  fd6_ = bind_second(address6, config.bind6, config.port, bound4_ ? bound4_.getPort() : std::uint16_t{0});
  bound6_ = bound_address(fd6_);
  if (!fd4_ && !fd6_) fail_dht("neither IPv4 nor IPv6 can be used for the DHT");
}

proto::DhtGateCounters DhtPort::counters() const {
  const std::lock_guard lock(mutex_);
  return gate_.counters();
}

proto::DhtGateSizes DhtPort::sizes() const {
  const std::lock_guard lock(mutex_);
  return gate_.sizes();
}

void DhtPort::on_network_changed() {
  const std::lock_guard lock(mutex_);
  gate_.on_network_changed(now());
  wake_if_due();
}

void DhtPort::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);  // fails only when it is already awake for 2^64 - 1 reasons
}

void DhtPort::wake_if_due() {
  if (gate_.next_deadline() >= waits_until_) return;
  waits_until_ = gate_.next_deadline();
  wake();
}

// ---- DhtSocket ----

/// Room for datagrams, allocated once.
struct DhtSocket::Batch {
  // Not cleared: 2 MiB of address space, of which only what a datagram has filled is memory.
  std::unique_ptr<std::uint8_t[]> bytes = std::make_unique_for_overwrite<std::uint8_t[]>(kBatch * kSlot_bytes);
  std::array<sockaddr_storage, kBatch> from{};
  std::array<iovec, kBatch> slots{};
  std::array<mmsghdr, kBatch> messages{};

  /// How many came; 0 when there is nothing more.
  std::size_t take(int fd) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      slots[i] = {bytes.get() + i * kSlot_bytes, kSlot_bytes};
      messages[i] = {};
      messages[i].msg_hdr.msg_name = &from[i];
      messages[i].msg_hdr.msg_namelen = sizeof from[i];
      messages[i].msg_hdr.msg_iov = &slots[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int count = ::recvmmsg(fd, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  [[nodiscard]] proto::Bytes datagram(std::size_t i) const {
    return {bytes.get() + i * kSlot_bytes, messages[i].msg_len};
  }
  [[nodiscard]] dht::SockAddr sender(std::size_t i) const { return {from[i], messages[i].msg_hdr.msg_namelen}; }
};

DhtSocket::DhtSocket(std::shared_ptr<DhtPort> port) : port_(std::move(port)), receiver_([this] { run(); }) {}

DhtSocket::~DhtSocket() {
  stop();
}

void DhtSocket::stop() {
  stopping_ = true;
  port_->wake();
  if (receiver_.joinable()) receiver_.join();
}

int DhtSocket::sendTo(const dht::SockAddr& to, const std::uint8_t* data, std::size_t size, bool replied) {
  if (!to) return EFAULT;
  const int fd = to.getFamily() == AF_INET || to.getFamily() == AF_INET6 ? port_->fd_of(to.getFamily()) : -1;
  if (fd < 0 || stopping_) return EAFNOSUPPORT;
  proto::DhtSend verdict;
  std::vector<proto::DhtDatagram> outgoing;
  {
    const std::lock_guard lock(port_->mutex_);
    verdict = port_->gate_.on_send(address_of(to.get()), {data, size}, now());
    outgoing = port_->gate_.take_outgoing();
    port_->wake_if_due();
  }
  send_now(outgoing);
  if (verdict.what != proto::DhtSend::What::kSend) return 0;
  return send_datagram(fd, to, data, size, replied ? MSG_CONFIRM : 0);
}

std::vector<dht::SockAddr> DhtSocket::resolve(const std::string& host, const std::string& service) {
  std::vector<dht::SockAddr> out;
  for (const auto& address : numeric_addresses(host, service)) out.emplace_back(address.storage, address.length);
  return out;
}

void DhtSocket::run() {
  give_way();  // to the channels: a flood of datagrams must not take the loop's time
  Batch batch;
  std::array<pollfd, 3> wanted{
      {{port_->wake_.get(), POLLIN, 0}, {port_->fd4_.get(), POLLIN, 0}, {port_->fd6_.get(), POLLIN, 0}}};
  while (!stopping_) {
    int wait_ms = -1;
    {
      const std::lock_guard lock(port_->mutex_);
      port_->waits_until_ = port_->gate_.next_deadline();
      if (port_->waits_until_ != proto::kNever) {
        wait_ms = static_cast<int>(std::clamp<std::int64_t>((port_->waits_until_ - now()).count(), 0, INT_MAX));
      }
    }
    if (::poll(wanted.data(), wanted.size(), wait_ms) < 0) continue;  // EINTR
    std::uint64_t woken = 0;
    if ((wanted[0].revents & POLLIN) != 0) (void)!::read(port_->wake_.get(), &woken, sizeof woken);
    dht::net::PacketList passed;
    for (std::size_t i = 1; i < wanted.size(); ++i) {
      if (wanted[i].revents != 0) receive(wanted[i].fd, batch, passed);
    }
    hand_on(std::move(passed));
  }
}

/// One batch, so that the other family, the alarm and the end have their turn, too.
void DhtSocket::receive(int fd, Batch& batch, dht::net::PacketList& out) {
  const std::size_t count = batch.take(fd);
  std::array<bool, kBatch> pass{};
  // In the order in which they came: what the gate says of one is true behind those before it.
  std::array<std::vector<proto::DhtDatagram>, kBatch> whole;
  {
    const std::lock_guard lock(port_->mutex_);
    const auto came = now();
    for (std::size_t i = 0; i < count; ++i) {
      const auto from = address_of(reinterpret_cast<const sockaddr*>(&batch.from[i]));
      pass[i] = port_->gate_.on_received(from, batch.datagram(i), came).what == proto::DhtReceived::What::kPass;
      if (!pass[i]) whole[i] = port_->gate_.take_incoming();
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (pass[i]) add_packet(out, batch.sender(i), batch.datagram(i));
    for (const auto& one : whole[i]) add_packet(out, sockaddr_of(one.address), one.bytes);
  }
}

/// To OpenDHT what came for it; to the network what the gate gives out.
void DhtSocket::hand_on(dht::net::PacketList passed) {
  std::vector<proto::DhtDatagram> outgoing;
  std::vector<proto::DhtDatagram> waited;
  {
    const std::lock_guard lock(port_->mutex_);
    port_->gate_.on_timeout(now());
    waited = port_->gate_.take_incoming();
    outgoing = port_->gate_.take_outgoing();
  }
  send_now(outgoing);
  for (const auto& one : waited) add_packet(passed, sockaddr_of(one.address), one.bytes);
  if (!passed.empty() && !stopping_) onReceived(std::move(passed));
}

void DhtSocket::add_packet(dht::net::PacketList& out, const dht::SockAddr& from, proto::Bytes bytes) {
  auto packet = getNewPacket();  // with the memory of one that OpenDHT is through with
  packet.front().data.assign(bytes.begin(), bytes.end());
  packet.front().from = from;
  packet.front().received = dht::clock::now();
  out.splice(out.end(), std::move(packet));
}

/// Nobody hears of an error: OpenDHT was told that these were sent, and those of the gate are its own.
void DhtSocket::send_now(const std::vector<proto::DhtDatagram>& datagrams) {
  for (const auto& datagram : datagrams) {
    const auto to = sockaddr_of(datagram.address);
    const int fd = port_->fd_of(to.getFamily());
    if (fd >= 0) (void)send_datagram(fd, to, datagram.bytes.data(), datagram.bytes.size(), 0);
  }
}

}  // namespace connd::daemon
