// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/front_door.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "daemon/system/fd_limits.h"
#include "proto/stun.h"

namespace connd::daemon {
namespace {

/// Accepted in one turn of the loop; the rest in the next one.
constexpr int kAcceptsPerTurn = 16;
/// With no descriptor to be had, or too many callers.
constexpr proto::Duration kNoDescriptorPause = std::chrono::seconds(1);
constexpr proto::Duration kPacePause = std::chrono::milliseconds(50);
/// A check is about 100 bytes; both ufrags can add 513.
constexpr std::size_t kMaxCheckBytes = 1280;
/// Up to the end of the magic cookie behind a frame's length: then it is known what it may be.
constexpr std::size_t kTellingBytes = proto::kFrameLengthBytes + 8;

std::uint32_t word_at(proto::Bytes bytes, std::size_t at) {
  return proto::ByteReader(bytes.subspan(at)).u32();
}

/// Whether two endpoints count as one: IPv4 by address, IPv6 by network.
bool same_origin(const proto::IpEndpoint& a, const proto::IpEndpoint& b) {
  const std::ptrdiff_t compared = a.is_ipv6 ? 8 : 4;
  return a.is_ipv6 == b.is_ipv6 && std::equal(a.address.begin(), a.address.begin() + compared, b.address.begin());
}

}  // namespace

Outcome<std::unique_ptr<FrontDoor>> FrontDoor::open(Loop& loop, EdgePoller& poller, std::uint16_t port) {
  auto v4 = listen_at(AF_INET, port);
  if (!v4) {
    return failure(std::errc::address_in_use, "TCP port " + std::to_string(port) +
                                                  " cannot be listened at: " + v4.error().message() + "; see --port");
  }
  const auto own = own_endpoint(v4->get());
  const std::uint16_t number = own ? own->port : port;
  auto v6 = listen_at(AF_INET6, number);
  if (!v6 && v6.error() == std::errc::address_in_use) {
    return failure(std::errc::address_in_use, "TCP port " + std::to_string(number) + " is taken for IPv6; see --port");
  }
  return std::unique_ptr<FrontDoor>(
      new FrontDoor(loop, poller, std::move(*v4), v6 ? std::move(*v6) : ipc::Fd(), number));
}

FrontDoor::FrontDoor(Loop& loop, EdgePoller& poller, ipc::Fd v4, ipc::Fd v6, std::uint16_t port)
    : loop_(loop),
      poller_(poller),
      port_(port),
      pace_(kDoorBurst, kDoorRate, loop.now()),
      timer_(loop, [this] { on_time(); }),
      v4_{std::move(v4), std::nullopt},
      v6_{std::move(v6), std::nullopt} {
  watch(v4_);
  if (v6_.socket) watch(v6_);
}

FrontDoor::~FrontDoor() = default;

void FrontDoor::watch(Listener& listener) {
  listener.poll.emplace(loop_, listener.socket.get(), [this, &listener](int) { accept(listener); });
  listener.poll->want(Poll::kReadable);
}

FrontDoor::Guest* FrontDoor::guest(std::string_view ufrag) const {
  const auto it = guests_.find(ufrag);
  return it != guests_.end() ? it->second : nullptr;
}

// ---- who comes ----

void FrontDoor::accept(const Listener& listener) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    if (!pace_.take(loop_.now())) return pause(kPacePause);
    ipc::Fd socket(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      admit(lift_fd(std::move(socket)));
      continue;
    }
    // The listener stays readable: without a pause the loop would do nothing else.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return pause(kNoDescriptorPause);
    return;
  }
}

void FrontDoor::pause(proto::Duration time) {
  listen(false);
  paused_until_ = loop_.now() + time;
  arm();
}

void FrontDoor::listen(bool on) {
  for (Listener* listener : {&v4_, &v6_}) {
    if (listener->poll) listener->poll->want(on ? Poll::kReadable : 0);
  }
}

void FrontDoor::admit(ipc::Fd socket) {
  ++counters_.strangers;
  const auto from = peer_endpoint(socket.get());
  if (!from || strangers_of(*from) >= kMaxDoorStrangersOfOne) {
    ++counters_.closed;
    return;
  }
  if (strangers_.size() >= most_strangers_) {
    ++counters_.closed;
    strangers_.pop_front();
  }
  const int on = 1;
  (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto stranger = std::make_unique<Stranger>(*this, std::move(socket), *from);
  auto watch = poller_.watch(stranger->socket.get(), *stranger);
  if (!watch) return;
  stranger->watch = std::move(*watch);
  strangers_.push_back(std::move(stranger));
  arm();
}

std::size_t FrontDoor::strangers_of(const proto::IpEndpoint& from) const {
  return static_cast<std::size_t>(std::count_if(strangers_.begin(), strangers_.end(), [&from](const auto& stranger) {
    return same_origin(stranger->from, from);
  }));
}

std::unique_ptr<FrontDoor::Stranger> FrontDoor::remove(const Stranger& stranger) {
  const auto at = std::find_if(strangers_.begin(), strangers_.end(),
                               [&stranger](const auto& one) { return one.get() == &stranger; });
  std::unique_ptr<Stranger> out = std::move(*at);
  strangers_.erase(at);
  arm();
  return out;
}

// ---- what it says ----

void FrontDoor::look(Stranger& stranger, std::uint32_t /*events*/) {
  std::array<std::uint8_t, proto::kFrameLengthBytes + kMaxCheckBytes> head;
  const auto seen = peek(stranger.socket.get(), head);
  if (!seen && (seen.error() == std::errc::resource_unavailable_try_again || seen.error() == std::errc::interrupted)) {
    return;
  }
  const bool over = !seen || *seen == 0;
  switch (over ? Verdict::kClose : judge(stranger, proto::Bytes(head).first(*seen))) {
    case Verdict::kWait:
    case Verdict::kAnswered:
      return;
    case Verdict::kClose:
      if (!stranger.answered) ++counters_.closed;
      (void)remove(stranger);
      return;
    case Verdict::kGuest:
      break;
  }
  ++counters_.guests;
  Guest* guest = std::exchange(judged_for_, nullptr);
  const auto gone = remove(stranger);
  gone->watch.reset();
  guest->on_caller(std::move(gone->socket));
}

FrontDoor::Verdict FrontDoor::judge(Stranger& stranger, proto::Bytes bytes) {
  // It has had its answer: what else it says is for nobody.
  if (stranger.answered) return Verdict::kClose;
  // A binding request's first byte is 0, and a frame of a check begins with its length, 20 to 1280.
  if (bytes[0] > kMaxCheckBytes >> 8) return Verdict::kClose;
  if (bytes.size() < kTellingBytes) return Verdict::kWait;
  if (word_at(bytes, 4) == proto::kStunMagicCookie) return judge_plain(stranger, bytes);
  if (word_at(bytes, proto::kFrameLengthBytes + 4) == proto::kStunMagicCookie) return judge_check(bytes);
  return Verdict::kClose;
}

/// RFC 8489, 6.2.2: over TCP, messages follow each other without a frame.
FrontDoor::Verdict FrontDoor::judge_plain(Stranger& stranger, proto::Bytes bytes) {
  const std::size_t size = proto::kStunHeaderBytes + proto::load_u16(bytes.data() + 2);
  if (size > kMaxCheckBytes) return Verdict::kClose;
  if (bytes.size() < size) return Verdict::kWait;
  const auto request = proto::StunView::parse(bytes.first(size));
  if (!request || !request->is(proto::StunClass::kRequest, proto::StunMethod::kBinding) || request->wants_unknown() ||
      request->has(proto::StunAttribute::kUsername)) {
    return Verdict::kClose;
  }
  const auto answer = proto::StunWriter(proto::StunClass::kSuccess, proto::StunMethod::kBinding, request->transaction())
                          .add_address(proto::StunAttribute::kXorMappedAddress, stranger.from)
                          .add_fingerprint()
                          .take();
  take(stranger.socket.get(), size);
  if (!send_all(stranger.socket.get(), answer)) return Verdict::kClose;
  ++counters_.answered;
  stranger.answered = true;
  return bytes.size() > size ? Verdict::kClose : Verdict::kAnswered;
}

FrontDoor::Verdict FrontDoor::judge_check(proto::Bytes bytes) {
  const std::size_t size = proto::load_u16(bytes.data());
  if (size < proto::kStunHeaderBytes || size > kMaxCheckBytes) return Verdict::kClose;
  if (bytes.size() < proto::kFrameLengthBytes + size) return Verdict::kWait;
  const auto check = proto::StunView::parse(bytes.subspan(proto::kFrameLengthBytes, size));
  if (!check || !check->is(proto::StunClass::kRequest, proto::StunMethod::kBinding)) return Verdict::kClose;
  // RFC 8445, 7.2.2: USERNAME begins with the receiver's ufrag, and the receiver's password protects it.
  judged_for_ = guest(proto::receiver_of_check(check->username().value_or("")));
  if (judged_for_ == nullptr || !check->has_integrity(judged_for_->door_password())) return Verdict::kClose;
  return Verdict::kGuest;
}

// ---- time ----

void FrontDoor::on_time() {
  const proto::TimePoint now = loop_.now();
  while (!strangers_.empty() && strangers_.front()->until <= now) {
    if (!strangers_.front()->answered) ++counters_.closed;
    strangers_.pop_front();
  }
  if (paused_until_ <= now) {
    paused_until_ = proto::kNever;
    listen(true);
  }
  arm();
}

void FrontDoor::arm() {
  timer_.arm(std::min(paused_until_, strangers_.empty() ? proto::kNever : strangers_.front()->until));
}

}  // namespace connd::daemon
