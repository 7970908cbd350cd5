// SPDX-License-Identifier: GPL-3.0-or-later
/// FrontDoor: the one TCP port of the daemon's own, that an administrator opens and a NAT is punched for. It listens
/// for as long as there is a network, and tells attempts apart by the credentials in their first STUN message.
///
/// Who comes is a stranger until its first message is whole. One that is a binding request with an attempt's
/// credentials makes the connection that attempt's, the message still unread. A plain binding request, as STUN over TCP
/// has it (RFC 8489, 6.2.2), is answered: so every jami-connd that can be reached tells others their public address,
/// and no server of anybody's is needed for that. Everything else gets no byte. The ways of a stranger to cost us
/// something are bounded: so many connections, so long, so many of one address.
#pragma once

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/event_loop/edge_poller.h"
#include "daemon/event_loop/loop.h"
#include "daemon/path/door_sockets.h"
#include "daemon/system/outcome.h"
#include "proto/token_bucket.h"

namespace connd::daemon {

/// Connections that have not said whose they are: one more takes the place of the oldest.
inline constexpr std::size_t kMaxDoorStrangers = 64;
/// Of these, those of one IPv4 address, or one IPv6 network of 64 bits: more are closed at once. A carrier's NAT has
/// many people behind one address.
inline constexpr std::size_t kMaxDoorStrangersOfOne = 16;
/// From the first byte of TCP to whose it is: a round trip or two.
inline constexpr proto::Duration kDoorStrangerTime = std::chrono::seconds(5);
/// Connections that are looked at: so many at once, then so many a second. What comes beyond waits in the kernel.
inline constexpr std::uint32_t kDoorBurst = 256;
inline constexpr std::uint32_t kDoorRate = 100;

/// Lives on the loop's thread.
class FrontDoor {
 public:
  /// An attempt that connections may be for. It outlives its entry.
  class Guest {
   public:
    /// The password of its own side.
    [[nodiscard]] virtual std::string_view door_password() const = 0;
    /// Of two attempts that meet on one connection both sides let the lower one have it.
    [[nodiscard]] virtual std::uint64_t door_rank() const = 0;
    /// A connection with its credentials: non-blocking, the check that has them unread. Must not destroy the door, nor
    /// this guest.
    virtual void on_caller(ipc::Fd connection) = 0;

   protected:
    ~Guest() = default;
  };
  struct Counters {
    std::uint64_t strangers = 0;  ///< connections that came
    std::uint64_t answered = 0;   ///< plain binding requests
    std::uint64_t guests = 0;     ///< connections of attempts
    std::uint64_t closed = 0;     ///< that said something else, or nothing in time
  };

  /// Listens at `port`, 0: a free one. IPv6 is done without where there is none. Failure: the port is taken, or may not
  /// be had.
  static Outcome<std::unique_ptr<FrontDoor>> open(Loop& loop, EdgePoller& poller, std::uint16_t port);
  ~FrontDoor();
  FrontDoor(const FrontDoor&) = delete;
  FrontDoor& operator=(const FrontDoor&) = delete;

  /// Fewer strangers at a time than there may be else: where descriptors are few.
  void limit_strangers(std::size_t most) { most_strangers_ = std::clamp<std::size_t>(most, 1, kMaxDoorStrangers); }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool has_ipv6() const { return static_cast<bool>(v6_.socket); }
  /// `ufrag` is the attempt's own.
  void expect(const std::string& ufrag, Guest& guest) { guests_[ufrag] = &guest; }
  void forget(const std::string& ufrag) { guests_.erase(ufrag); }
  /// Null: no attempt has that ufrag.
  [[nodiscard]] Guest* guest(std::string_view ufrag) const;
  [[nodiscard]] std::size_t strangers() const { return strangers_.size(); }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Stranger final : EdgeHandler {
    Stranger(FrontDoor& door, ipc::Fd socket, const proto::IpEndpoint& from)
        : door(door), socket(std::move(socket)), from(from), until(door.loop_.now() + kDoorStrangerTime) {}
    void on_edge(std::uint32_t events) override { door.look(*this, events); }

    FrontDoor& door;
    ipc::Fd socket;
    proto::IpEndpoint from;
    proto::TimePoint until;
    bool answered = false;
    EdgePoller::Watch watch;  // last: it goes before the socket is closed
  };
  struct Listener {
    ipc::Fd socket;
    std::optional<Poll> poll;
  };
  enum class Verdict : std::uint8_t { kWait, kClose, kAnswered, kGuest };

  FrontDoor(Loop& loop, EdgePoller& poller, ipc::Fd v4, ipc::Fd v6, std::uint16_t port);
  void watch(Listener& listener);
  void accept(const Listener& listener);
  void admit(ipc::Fd socket);
  void pause(proto::Duration time);
  void listen(bool on);
  void look(Stranger& stranger, std::uint32_t events);
  Verdict judge(Stranger& stranger, proto::Bytes bytes);
  Verdict judge_plain(Stranger& stranger, proto::Bytes bytes);
  Verdict judge_check(proto::Bytes bytes);
  [[nodiscard]] std::size_t strangers_of(const proto::IpEndpoint& from) const;
  std::unique_ptr<Stranger> remove(const Stranger& stranger);
  void on_time();
  void arm();

  Loop& loop_;
  EdgePoller& poller_;
  std::uint16_t port_;
  std::map<std::string, Guest*, std::less<>> guests_;
  std::list<std::unique_ptr<Stranger>> strangers_;  ///< the oldest first
  Guest* judged_for_ = nullptr;                     ///< by the last judge_check()
  std::size_t most_strangers_ = kMaxDoorStrangers;
  proto::TokenBucket pace_;
  proto::TimePoint paused_until_ = proto::kNever;
  Counters counters_;
  Timer timer_;
  Listener v4_, v6_;
};

}  // namespace connd::daemon
