// SPDX-License-Identifier: GPL-3.0-or-later
/// IpcSession: one client of the control socket: its lines in and out, what it waits for, its subscription.
///
/// It works when its Owner lets it: what comes from the client is read, and what piles up for it is written, in work(),
/// a piece at a time. What is answered in it is written at once.
///
/// It ends in two steps, each told to its Owner and done by it in a later turn: `ending` when nothing more comes from
/// the client (what it asked for is taken back then), and gone when what was to be said has been said, or cannot be.
///
/// As a ChannelTaker and as a subscriber it writes what it is told.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "daemon/event_loop/loop.h"
#include "daemon/local_api/channel_taker.h"
#include "daemon/local_api/event_feed.h"
#include "ipc/fd_channel.h"
#include "ipc/fd_pass.h"

namespace connd::daemon {

/// resource-limit: what an answer is that would pass kMaxLineBytes.
[[nodiscard]] ipc::Error answer_too_long();

class IpcSession final : public ChannelTaker, public EventFeed::Subscriber {
 public:
  /// What the owner counts, for status.
  enum class Counted : std::uint8_t {
    kDropped,    ///< a client that did not read
    kEventLost,  ///< an event for which there was no room
    kLimit,      ///< an answer that said resource-limit
  };
  class Owner {
   public:
    /// Answer by reply() or fail(), at once or later.
    virtual void on_request(IpcSession& session, ipc::Request request) = 0;
    /// There is something to do: call work() until it says that there is nothing more, in a later turn.
    virtual void on_session_ready(IpcSession& session) = 0;
    /// The session moved on to kEnding or kGone: call end() or destroy it, in a later turn.
    virtual void on_session_moved(IpcSession& session) = 0;
    virtual void count(Counted what) = 0;

   protected:
    ~Owner() = default;
  };
  enum class State : std::uint8_t {
    kOpen,      ///< reads and writes
    kEnding,    ///< the client has ended: nothing is read any more; end() comes next
    kDraining,  ///< what is queued is still written
    kGone,
  };

  /// A piece of work: so many lines, if they take no longer than this together; others come between.
  static constexpr int kLinesPerPiece = 16;
  static constexpr std::chrono::microseconds kTimePerPiece{100};
  /// And so much written to a client that reads as fast as we write: a socket's buffer.
  static constexpr std::size_t kWrittenPerPiece = std::size_t{256} << 10;
  /// Above this much unread output events are counted and not queued: the rest of the bound is for answers.
  static constexpr std::size_t kMaxQueuedForEvents = std::size_t{1} << 20;
  /// Above this much it is told of no more requests of peers, whose names are long if they like.
  static constexpr std::size_t kMaxQueuedForRequests = std::size_t{4} << 20;
  /// How often what waits for the client to take fds is tried again; no poll event tells.
  static constexpr proto::Duration kFdRetryTime = std::chrono::milliseconds(10);
  /// A client that has ended has this long to read what is left.
  static constexpr proto::Duration kDrainTime = std::chrono::seconds(5);

  IpcSession(Loop& loop, Owner& owner, ClientNumber number, ipc::Fd socket, ipc::PeerCredentials credentials,
             bool admin, std::size_t max_uncollected_fds);

  [[nodiscard]] ClientNumber number() const override { return number_; }
  [[nodiscard]] const ipc::PeerCredentials& credentials() const override { return credentials_; }
  [[nodiscard]] bool admin() const override { return admin_; }
  [[nodiscard]] State state() const { return state_; }
  /// As hello said; for logs.
  void set_name(std::string name) { name_ = std::move(name); }
  [[nodiscard]] const std::string& name() const { return name_; }

  // ---- to the client. Nothing happens when it is gone; an fd is closed then ----

  /// With an fd the result gets its `fds`.
  void reply(const ipc::Json& id, ipc::Json result, ipc::Fd fd = {});
  void fail(const ipc::Json& id, const ipc::Error& error);
  void notify(std::string_view method, ipc::Json params, ipc::Fd fd = {});

  // ---- events ----

  /// (Re)starts the subscription: events from now on, the first with the number returned plus 1.
  std::uint64_t subscribe();
  void unsubscribe() { subscribed_ = false; }
  /// Of the last event, also of those that were lost.
  [[nodiscard]] std::uint64_t event_seq() const { return event_seq_; }
  void event(std::string_view members) override;

  // ---- as a ChannelTaker ----

  [[nodiscard]] bool takes_channels() const override { return state_ == State::kOpen; }
  /// Not all that it has said was worked for yet.
  [[nodiscard]] bool behind() const override;
  /// fds that it was given and that have not left this process: each is a descriptor of ours.
  [[nodiscard]] std::size_t unsent_fds() const override { return channel_.queued_fds(); }
  /// What it has not read.
  [[nodiscard]] std::size_t queued_bytes() const { return channel_.queued_bytes(); }
  [[nodiscard]] bool congested() const override { return queued_bytes() > kMaxQueuedForRequests; }
  void channel_opened(const ipc::ChannelOpened& opened, ipc::Fd fd) override;
  void channel_requested(const ipc::ChannelRequested& request) override;
  void channel_request_cancelled(const ipc::RequestCancelled& cancelled) override;
  void channel_closed(const ipc::ChannelClosed& closed) override;

  // ---- to become something else ----

  /// Whether nothing is under way that the session itself knows of: for hand_over.
  [[nodiscard]] bool idle() const { return !subscribed_ && channel_.idle(); }
  /// Says this result, and gives the socket up: what comes next over it is for who gets it. The session is gone then.
  /// No fd: so was the client. Only when idle.
  [[nodiscard]] ipc::Fd hand_over(const ipc::Json& id, ipc::Json result);

  // ---- its turn ----

  /// Reads, answers and writes a piece. True: there is more.
  bool work();

  // ---- the end ----

  /// The daemon wants it to end: nothing is read any more.
  void close();
  /// After kEnding, when what the client asked for was taken back: writes what is queued, then it is gone.
  void end();

 private:
  void on_ready(int events);
  void process();
  void take(ipc::FdChannel::Incoming incoming);
  void take_end(const ipc::FdChannel::Ended& ended);
  void send(std::string line, ipc::Fd fd);
  void write_soon();
  void drop();
  void flush();
  void tell_lost();
  void on_timer();
  void update();
  void become(State state);

  Loop& loop_;
  Owner& owner_;
  const ClientNumber number_;
  const ipc::PeerCredentials credentials_;
  const bool admin_;
  std::string name_;
  ipc::FdChannel channel_;
  State state_ = State::kOpen;
  bool more_ = false;       ///< lines that were read wait for the next piece
  bool readable_ = false;   ///< something may be there to be read
  bool unwritten_ = false;  ///< something may be written
  bool working_ = false;
  bool waits_ = false;  ///< the poll said more than once what is known: it is off
  proto::TimePoint drain_until_ = proto::kNever;
  bool subscribed_ = false;
  std::uint64_t event_seq_ = 0;  ///< of the last event, lost ones included
  std::uint64_t lost_ = 0;
  Poll poll_;
  Timer timer_;
};

}  // namespace connd::daemon
