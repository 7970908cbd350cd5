// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/puncher.h"

#include <algorithm>
#include <utility>

namespace connd::daemon {
namespace {

/// What is looked at of a check at a time: more than one message.
constexpr std::size_t kPeekBytes = 4096;

bool same_address(const proto::IpEndpoint& a, const proto::IpEndpoint& b) {
  return a.is_ipv6 == b.is_ipv6 && a.address == b.address;
}

}  // namespace

Puncher::Puncher(Loop& loop, EdgePoller& poller, FrontDoor& door, PunchConfig config,
                 std::function<void(PunchedPath)> on_path)
    : loop_(loop),
      poller_(poller),
      door_(door),
      config_(std::move(config)),
      on_path_(std::move(on_path)),
      credentials_{config_.local_ufrag, config_.local_pwd, {}, {}},
      timer_(loop, [this] { on_time(); }) {
  door_.expect(config_.local_ufrag, *this);
}

Puncher::~Puncher() {
  door_.forget(config_.local_ufrag);
}

bool Puncher::active() const {
  return started_ && loop_.now() < *started_ + kPunchTime;
}

void Puncher::start(const proto::IceDescription& remote) {
  started_ = loop_.now();
  credentials_.remote_ufrag = remote.ufrag;
  credentials_.remote_pwd = remote.pwd;
  std::vector<proto::IpEndpoint> targets;
  for (const proto::Door& door : remote.doors) {
    const auto target = endpoint_from(door.address, door.port);
    if (!target || !may_connect(*target, config_.allow_loopback)) continue;
    if (door.kind == proto::Door::Kind::kHost) peers_hosts_.push_back(*target);
    if (target->is_ipv6 && !door_.has_ipv6()) continue;
    if (std::find(targets.begin(), targets.end(), *target) == targets.end()) targets.push_back(*target);
    if (targets.size() == kMaxPunchTargets) break;
  }
  for (const proto::IpEndpoint& target : targets) {
    Line& line = *lines_.emplace_back(std::make_unique<Line>(*this));
    line.target = target;
    connect(line);
  }
  arm();
}

// ---- connections ----

void Puncher::on_caller(ipc::Fd connection) {
  const auto callers = std::count_if(lines_.begin(), lines_.end(), [](const auto& line) { return !line->target; });
  if (static_cast<std::size_t>(callers) >= kMaxPunchCallers) return;
  Line& line = *lines_.emplace_back(std::make_unique<Line>(*this));
  line.socket = std::move(connection);
  auto watch = poller_.watch(line.socket.get(), line);
  if (!watch) return drop(line);
  line.watch = std::move(*watch);  // its first edge tells of what has come already
  begin_check(line, false);
}

void Puncher::connect(Line& line) {
  const proto::TimePoint now = loop_.now();
  auto begun = connect_from(door_.port(), *line.target);
  if (!begun) {
    // The pair of addresses has a connection: it is in the front door's queue, or just going.
    const bool taken = begun.error() == std::errc::address_not_available || begun.error() == std::errc::address_in_use;
    return failed(line, taken || begun.error() == std::errc::connection_refused);
  }
  line.socket = std::move(begun->socket);
  line.state = State::kConnecting;
  line.due = renewal_after(now);
  auto watch = poller_.watch(line.socket.get(), line);
  if (!watch) return failed(line, false);
  line.watch = std::move(*watch);
}

void Puncher::on_edge(Line& line, std::uint32_t events) {
  if (line.state == State::kConnecting) {
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (!broken && (events & EPOLLOUT) == 0) return;
    if (connect_error(line.socket.get()) != 0) return failed(line, true);
    begin_check(line, true);
    if (line.state != State::kChecking) return;
  }
  if (line.state == State::kChecking) read(line);
}

void Puncher::begin_check(Line& line, bool ours) {
  const auto remote = peer_endpoint(line.socket.get());
  if (!remote) return failed(line, true);
  line.state = State::kChecking;
  line.due = loop_.now() + kPunchCheckTime;
  line.check.emplace(credentials_, config_.controlling, *remote, chance());
  if (ours) line.check->start();
  const proto::ByteVector output = line.check->take_output();
  if (!output.empty() && !send_all(line.socket.get(), output)) return failed(line, true);
  arm();
}

void Puncher::read(Line& line) {
  std::array<std::uint8_t, kPeekBytes> bytes;
  for (;;) {
    const auto seen = peek(line.socket.get(), bytes);
    if (!seen && seen.error() == std::errc::resource_unavailable_try_again) return;
    if (!seen || *seen == 0) return failed(line, true);
    const auto step = line.check->feed(proto::Bytes(bytes).first(*seen));
    take(line.socket.get(), step.used);
    const proto::ByteVector output = line.check->take_output();
    if (!output.empty() && !send_all(line.socket.get(), output)) return failed(line, true);
    if (line.check->state() == proto::TcpCheck::State::kSelected) return select(line);
    if (line.check->state() == proto::TcpCheck::State::kFailed) return failed(line, false);
    if (step.other > 0) {
      if (give_to_other(line, step.other_ufrag)) return;
      take(line.socket.get(), step.other);
    } else if (step.used == 0) {
      return;  // the rest of a frame is to come, and makes an edge
    }
  }
}

/// Two attempts between the same devices, each side's own, have met on one connection.
bool Puncher::give_to_other(Line& line, const std::string& ufrag) {
  FrontDoor::Guest* other = door_.guest(ufrag);
  if (other == nullptr || other == this || other->door_rank() >= config_.rank) return false;
  line.watch.reset();
  ipc::Fd connection = std::move(line.socket);
  failed(line, true);
  other->on_caller(std::move(connection));
  return true;
}

void Puncher::select(Line& line) {
  PunchedPath path;
  const auto local = own_endpoint(line.socket.get());
  const auto remote = peer_endpoint(line.socket.get());
  if (!local || !remote) return failed(line, false);
  path.local = *local;
  path.remote = *remote;
  path.host = is_host(*remote);
  line.watch.reset();
  path.socket = std::move(line.socket);
  drop(line);
  on_path_(std::move(path));
}

/// Before the description is here nothing of ours can have opened a NAT.
bool Puncher::is_host(const proto::IpEndpoint& remote) const {
  return !started_ || std::any_of(peers_hosts_.begin(), peers_hosts_.end(),
                                  [&remote](const proto::IpEndpoint& host) { return same_address(host, remote); });
}

/// `again`: it may be better with another connection.
void Puncher::failed(Line& line, bool again) {
  line.watch.reset();
  line.socket.reset();
  line.check.reset();
  line.state = State::kIdle;
  if (!again || !line.target || !active()) return drop(line);
  line.due = loop_.now() + line.pause;
  line.pause = std::min(2 * line.pause, kPunchLastPause);
  arm();
}

void Puncher::drop(Line& line) {
  std::erase_if(lines_, [&line](const auto& one) { return one.get() == &line; });
  arm();
}

// ---- time ----

void Puncher::on_time() {
  const proto::TimePoint now = loop_.now();
  std::vector<Line*> due;
  for (const auto& line : lines_) {
    if (line->due <= now) due.push_back(line.get());
  }
  for (Line* line : due) {
    // A check that is not answered, or not in time; a connection that is not. What has a target begins anew.
    if (line->state == State::kChecking) {
      failed(*line, true);
    } else if (!active()) {
      drop(*line);
    } else {
      line->watch.reset();
      line->socket.reset();
      connect(*line);
    }
  }
  arm();
}

void Puncher::arm() {
  proto::TimePoint first = proto::kNever;
  for (const auto& line : lines_) first = std::min(first, line->due);
  timer_.arm(first);
}

proto::TimePoint Puncher::renewal_after(proto::TimePoint now) const {
  for (const proto::Duration renewal : kPunchRenewals) {
    if (*started_ + renewal > now) return *started_ + renewal;
  }
  return *started_ + kPunchTime;
}

proto::TcpCheck::Chance Puncher::chance() {
  proto::TcpCheck::Chance out{};
  for (std::uint8_t& byte : out.transaction) byte = static_cast<std::uint8_t>(random_());
  out.tie_breaker = random_();
  return out;
}

}  // namespace connd::daemon
