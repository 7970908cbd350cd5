// SPDX-License-Identifier: GPL-3.0-or-later
/// Puncher: the way of an attempt beside ICE's, through the front doors of both daemons. Both connect, from their one
/// port, to what the other has told of its own: its addresses at that port, and what a NAT has made of them. A NAT that
/// keeps its mapping for all destinations (and most do) then lets the other's connection in, for it looks like an
/// answer. So two devices behind NATs meet without a server between them.
///
/// What the kernel does with two sides that connect to each other at one time is one connection, which one of them may
/// see as accepted. Who is who is therefore the attempt's affair (IceConfig's role), and a proto::TcpCheck on each
/// connection says whose it is, and lets both sides agree on it. TLS proves the rest.
///
/// A connection that begins too early costs nothing: it opens the own NAT, and the kernel tries again. One that is
/// refused (a NAT that says so) begins anew. One that cannot begin, for the pair of addresses has a connection, has it
/// in the front door's queue. A caller's door may be found before the answer is: then nobody waits for it.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "daemon/path/front_door.h"
#include "proto/ice_description.h"
#include "proto/tcp_check.h"

namespace connd::daemon {

/// Of a peer's doors, those that are tried: it must not make us knock at many addresses.
inline constexpr std::size_t kMaxPunchTargets = 8;
/// Connections through the front door that are not selected yet.
inline constexpr std::size_t kMaxPunchCallers = 4;
/// From the peer's description on, as long as ICE's checks (proto::ConnectTimes::check).
inline constexpr proto::Duration kPunchTime = std::chrono::seconds(5);
/// The first pause after a refusal; it doubles up to the last one.
inline constexpr proto::Duration kPunchFirstPause = std::chrono::milliseconds(100);
inline constexpr proto::Duration kPunchLastPause = std::chrono::milliseconds(400);
/// What is connected, and is not the peer, is closed after this.
inline constexpr proto::Duration kPunchCheckTime = std::chrono::seconds(2);
/// A connection that nobody answers begins anew then: a fresh SYN, which the kernel's own pauses would put off.
inline constexpr std::array<proto::Duration, 2> kPunchRenewals = {std::chrono::seconds(2), std::chrono::seconds(4)};

struct PunchedPath {
  ipc::Fd socket;  ///< connected, non-blocking; the stream stands at the start of an RFC 4571 frame
  proto::IpEndpoint local, remote;
  bool host = false;  ///< to an address that the peer has itself, or from it: nothing was punched
};

struct PunchConfig {
  bool controlling = false;
  bool allow_loopback = false;
  std::uint64_t rank = 0;  ///< FrontDoor::Guest::door_rank
  std::string local_ufrag, local_pwd;
};

/// Lives on the loop's thread; the door outlives it. Destroying it ends silently what is not selected.
class Puncher final : private FrontDoor::Guest {
 public:
  /// From now on callers with our credentials come in. `on_path` is called for each connection that is selected, from a
  /// turn of its own; the puncher is not destroyed there.
  Puncher(Loop& loop, EdgePoller& poller, FrontDoor& door, PunchConfig config,
          std::function<void(PunchedPath)> on_path);
  ~Puncher();

  /// The peer's description: connections to its doors begin. Once.
  void start(const proto::IceDescription& remote);
  /// Something may still come of it.
  [[nodiscard]] bool active() const;

 private:
  enum class State : std::uint8_t { kIdle, kConnecting, kChecking };
  /// One pair of addresses, or one caller.
  struct Line final : EdgeHandler {
    explicit Line(Puncher& owner) : owner(owner) {}
    void on_edge(std::uint32_t events) override { owner.on_edge(*this, events); }

    Puncher& owner;
    std::optional<proto::IpEndpoint> target;  ///< none: it came through the door
    State state = State::kIdle;
    ipc::Fd socket;
    std::optional<proto::TcpCheck> check;
    proto::Duration pause = kPunchFirstPause;
    proto::TimePoint due = proto::kNever;
    EdgePoller::Watch watch;  // last: it goes before the socket is closed
  };

  // FrontDoor::Guest
  [[nodiscard]] std::string_view door_password() const override { return config_.local_pwd; }
  [[nodiscard]] std::uint64_t door_rank() const override { return config_.rank; }
  void on_caller(ipc::Fd connection) override;

  void connect(Line& line);
  void on_edge(Line& line, std::uint32_t events);
  void begin_check(Line& line, bool ours);
  void read(Line& line);
  bool give_to_other(Line& line, const std::string& ufrag);
  void select(Line& line);
  void failed(Line& line, bool again);
  void drop(Line& line);
  void on_time();
  void arm();
  [[nodiscard]] proto::TimePoint renewal_after(proto::TimePoint now) const;
  [[nodiscard]] bool is_host(const proto::IpEndpoint& remote) const;
  [[nodiscard]] proto::TcpCheck::Chance chance();

  Loop& loop_;
  EdgePoller& poller_;
  FrontDoor& door_;
  const PunchConfig config_;
  const std::function<void(PunchedPath)> on_path_;
  proto::CheckCredentials credentials_;
  std::vector<proto::IpEndpoint> peers_hosts_;
  std::optional<proto::TimePoint> started_;
  std::list<std::unique_ptr<Line>> lines_;
  std::mt19937_64 random_{std::random_device{}()};
  Timer timer_;
};

}  // namespace connd::daemon
