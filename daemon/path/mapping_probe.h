// SPDX-License-Identifier: GPL-3.0-or-later
/// MappingProbe: what a NAT makes of connections that leave from the front door's port. It asks by STUN over TCP, from
/// that port, at places that are there without configuration: the front doors of the bootstrap nodes, which are at the
/// number of their DHT port (a jami-connd with --dht-port N has its door at N, unless told otherwise); or where --stun
/// says. A node that is none of ours refuses, or says nothing: it is left alone for a while then, and for one that says
/// nothing nobody waits again.
///
/// While an attempt lives the connections stay: they hold the mapping. Their other end closes them when it has had
/// enough of us; they are made anew.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "daemon/path/front_door.h"
#include "daemon/system/host_port.h"
#include "daemon/system/resolver.h"

namespace connd::daemon {

/// Places that are asked; of each name the first IPv4 and the first IPv6 address.
inline constexpr std::size_t kMaxProbePlaces = 8;
/// An attempt waits no longer than this for what its place says: see Question.
inline constexpr proto::Duration kProbeWait = std::chrono::milliseconds(400);
/// A place that has not answered by then does not answer.
inline constexpr proto::Duration kProbeTime = std::chrono::seconds(2);
/// One that did not, or refused, is left alone for a while, which doubles each time: this machine's network, or that
/// node, may have begun a moment later than we did; or it is none of ours, and never answers.
inline constexpr proto::Duration kProbeFirstPause = std::chrono::seconds(2);
inline constexpr proto::Duration kProbeLastPause = std::chrono::minutes(10);
/// What was told is believed for so long after its connection has ended.
inline constexpr proto::Duration kMappingTime = std::chrono::minutes(1);
/// Between two connections to one place.
inline constexpr proto::Duration kProbeInterval = std::chrono::seconds(5);

/// Lives on the loop's thread; the door outlives it.
class MappingProbe {
 public:
  /// Somebody who wants to know, and for whom the mapping is held while this lives. `on_known` is called once, in a
  /// later turn: when nothing is to be waited for, or kProbeWait later. It may destroy this. The probe outlives it.
  class Question {
   public:
    Question(MappingProbe& probe, std::function<void()> on_known);
    ~Question();
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;

   private:
    friend class MappingProbe;
    void settled();

    MappingProbe& probe_;
    std::function<void()> on_known_;
    const proto::TimePoint until_;
    Timer timer_;
  };

  MappingProbe(Loop& loop, EdgePoller& poller, const FrontDoor& door, std::vector<HostPort> places,
               Resolver::Ask ask = {});
  ~MappingProbe();

  /// What places say that we are, each once; our own addresses too, where no NAT is between.
  [[nodiscard]] std::vector<proto::IpEndpoint> mapped() const;
  /// The network is another one: nothing that was known counts.
  void network_changed();

 private:
  enum class State : std::uint8_t { kIdle, kConnecting, kAsked, kHeld };
  struct Line final : EdgeHandler {
    Line(MappingProbe& probe, const proto::IpEndpoint& server) : probe(probe), server(server) {}
    void on_edge(std::uint32_t events) override { probe.on_edge(*this, events); }

    MappingProbe& probe;
    proto::IpEndpoint server;
    State state = State::kIdle;
    ipc::Fd socket;
    proto::StunTransaction transaction{};
    std::optional<proto::IpEndpoint> mapped;
    proto::TimePoint known_at{};
    proto::TimePoint due = proto::kNever;  ///< the time is over, or it may be asked anew
    proto::Duration pause = kProbeFirstPause;
    bool silent = false;      ///< it took its time for nothing when it was asked last
    EdgePoller::Watch watch;  // last: it goes before the socket is closed
  };

  void begin();
  void resolve();
  void ask(Line& line);
  void on_edge(Line& line, std::uint32_t events);
  void send_request(Line& line);
  void read_answer(Line& line);
  void close(Line& line);
  void failed(Line& line, bool silent = false);
  void tell();
  void released();
  [[nodiscard]] bool settled() const;
  void on_time();
  void arm();

  Loop& loop_;
  EdgePoller& poller_;
  const FrontDoor& door_;
  std::vector<HostPort> places_;
  Resolver resolver_;
  std::size_t resolving_ = 0;
  std::optional<proto::TimePoint> resolved_at_;
  std::list<std::unique_ptr<Line>> lines_;
  std::vector<Question*> questions_;
  std::mt19937_64 random_{std::random_device{}()};
  Timer timer_;
};

}  // namespace connd::daemon
