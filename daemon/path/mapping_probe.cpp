// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/mapping_probe.h"

#include <algorithm>
#include <array>

#include "proto/stun.h"

namespace connd::daemon {
namespace {

/// A success response with two addresses and a name is below that.
constexpr std::size_t kMaxAnswerBytes = 1280;

}  // namespace

// ---- who asks ----

MappingProbe::Question::Question(MappingProbe& probe, std::function<void()> on_known)
    : probe_(probe),
      on_known_(std::move(on_known)),
      until_(probe.loop_.now() + kProbeWait),
      timer_(probe.loop_, [this] {
        const auto call = std::exchange(on_known_, nullptr);
        if (call) call();
      }) {
  probe_.questions_.push_back(this);
  probe_.begin();
  timer_.arm(probe_.settled() ? probe_.loop_.now() : until_);
}

MappingProbe::Question::~Question() {
  std::erase(probe_.questions_, this);
  probe_.released();
}

void MappingProbe::Question::settled() {
  if (on_known_) timer_.arm(probe_.loop_.now());
}

MappingProbe::MappingProbe(Loop& loop, EdgePoller& poller, const FrontDoor& door, std::vector<HostPort> places,
                           Resolver::Ask ask)
    : loop_(loop),
      poller_(poller),
      door_(door),
      places_(std::move(places)),
      resolver_(loop, std::move(ask)),
      timer_(loop, [this] { on_time(); }) {
  if (places_.size() > kMaxProbePlaces) places_.resize(kMaxProbePlaces);
}

MappingProbe::~MappingProbe() = default;

std::vector<proto::IpEndpoint> MappingProbe::mapped() const {
  std::vector<proto::IpEndpoint> out;
  for (const auto& line : lines_) {
    const bool fresh = line->state == State::kHeld || loop_.now() < line->known_at + kMappingTime;
    if (!line->mapped || !fresh) continue;
    if (std::find(out.begin(), out.end(), *line->mapped) == out.end()) out.push_back(*line->mapped);
  }
  return out;
}

void MappingProbe::network_changed() {
  lines_.clear();
  resolved_at_.reset();
  if (!questions_.empty()) begin();
}

// ---- asking ----

/// Names first, and again when they may have changed; then all that may be asked.
void MappingProbe::begin() {
  if (resolving_ == 0 && (!resolved_at_ || *resolved_at_ + kProbeLastPause < loop_.now())) resolve();
  for (const auto& line : lines_) {
    if (line->state == State::kIdle && (line->due == proto::kNever || line->due <= loop_.now())) ask(*line);
  }
  arm();
}

void MappingProbe::resolve() {
  resolved_at_ = loop_.now();
  for (const HostPort& place : places_) {
    ++resolving_;
    resolver_.resolve(place.host, std::to_string(place.port), [this](const Resolver::Addresses& addresses) {
      --resolving_;
      std::array<bool, 2> taken{};
      for (const SocketAddress& address : addresses) {
        const auto server = endpoint_of(address.storage);
        if (!server || std::exchange(taken[server->is_ipv6 ? 1 : 0], true)) continue;
        if (server->is_ipv6 && !door_.has_ipv6()) continue;
        const bool known =
            std::any_of(lines_.begin(), lines_.end(), [&server](const auto& line) { return line->server == *server; });
        if (known || lines_.size() >= 2 * kMaxProbePlaces) continue;
        Line& line = *lines_.emplace_back(std::make_unique<Line>(*this, *server));
        if (!questions_.empty()) ask(line);
      }
      tell();
      arm();
    });
  }
}

void MappingProbe::ask(Line& line) {
  auto begun = connect_from(door_.port(), line.server);
  if (!begun) return failed(line);
  line.socket = std::move(begun->socket);
  line.state = State::kConnecting;
  line.due = loop_.now() + kProbeTime;
  auto watch = poller_.watch(line.socket.get(), line);
  if (!watch) return failed(line);
  line.watch = std::move(*watch);
}

void MappingProbe::on_edge(Line& line, std::uint32_t events) {
  if (line.state == State::kConnecting) {
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (!broken && (events & EPOLLOUT) == 0) return;
    if (connect_error(line.socket.get()) != 0) return failed(line);
    send_request(line);
  }
  if (line.state == State::kAsked) return read_answer(line);
  // Nothing is expected any more: its other end has closed it, or talks.
  if (line.state == State::kHeld && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) close(line);
}

void MappingProbe::send_request(Line& line) {
  for (std::uint8_t& byte : line.transaction) byte = static_cast<std::uint8_t>(random_());
  const auto request = proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kBinding, line.transaction)
                           .add_fingerprint()
                           .take();
  if (!send_all(line.socket.get(), request)) return failed(line);
  line.state = State::kAsked;
}

void MappingProbe::read_answer(Line& line) {
  std::array<std::uint8_t, kMaxAnswerBytes> bytes;
  const auto seen = peek(line.socket.get(), bytes);
  if (!seen && seen.error() == std::errc::resource_unavailable_try_again) return;
  if (!seen || *seen == 0) return failed(line);
  if (*seen < proto::kStunHeaderBytes) return;
  const std::size_t size = proto::kStunHeaderBytes + proto::load_u16(bytes.data() + 2);
  if (size > bytes.size()) return failed(line);
  if (*seen < size) return;
  const auto answer = proto::StunView::parse(proto::Bytes(bytes).first(size));
  const bool ours = answer && answer->is(proto::StunClass::kSuccess, proto::StunMethod::kBinding) &&
                    answer->transaction() == line.transaction;
  const auto mapped = ours ? answer->address(proto::StunAttribute::kXorMappedAddress) : std::nullopt;
  // What cannot be connected to is a lie, or a riddle.
  if (!mapped || mapped->is_ipv6 != line.server.is_ipv6 || !may_connect(*mapped, true)) return failed(line);
  take(line.socket.get(), size);
  line.mapped = mapped;
  line.known_at = loop_.now();
  line.silent = false;
  line.pause = kProbeFirstPause;
  line.state = State::kHeld;
  line.due = proto::kNever;
  tell();
  arm();
}

/// It has answered, and its connection has ended.
void MappingProbe::close(Line& line) {
  line.watch.reset();
  line.socket.reset();
  line.state = State::kIdle;
  line.due = std::max(loop_.now(), line.known_at + kProbeInterval);
  arm();
}

void MappingProbe::failed(Line& line, bool silent) {
  line.watch.reset();
  line.socket.reset();
  line.state = State::kIdle;
  line.silent = silent;
  line.due = loop_.now() + line.pause;
  line.pause = std::min(2 * line.pause, kProbeLastPause);
  tell();
  arm();
}

// ---- telling ----

/// Nothing is under way that is worth waiting for.
bool MappingProbe::settled() const {
  if (resolving_ > 0) return false;
  return std::none_of(lines_.begin(), lines_.end(), [](const auto& line) {
    const bool under_way = line->state == State::kConnecting || line->state == State::kAsked;
    return under_way && !line->silent && !line->mapped;
  });
}

void MappingProbe::tell() {
  if (!settled()) return;
  for (Question* question : questions_) question->settled();
}

void MappingProbe::on_time() {
  const proto::TimePoint now = loop_.now();
  for (const auto& line : lines_) {
    if (line->due > now) continue;
    if (line->state == State::kConnecting || line->state == State::kAsked) {
      failed(*line, true);
    } else if (line->state == State::kIdle && !questions_.empty()) {
      ask(*line);
    }
  }
  arm();
}

/// Nobody needs the mapping held any more.
void MappingProbe::released() {
  if (!questions_.empty()) return;
  for (const auto& line : lines_) {
    if (line->state == State::kHeld) close(*line);
  }
  arm();
}

void MappingProbe::arm() {
  proto::TimePoint first = proto::kNever;
  for (const auto& line : lines_) {
    const bool waits = line->state == State::kIdle && questions_.empty();
    if (!waits) first = std::min(first, line->due);
  }
  timer_.arm(first);
}

}  // namespace connd::daemon
