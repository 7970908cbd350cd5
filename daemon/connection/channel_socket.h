// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelSocket: where one app meets one peer. It owns the daemon's end of the app's socketpair and what the app has
/// not taken yet, and moves bytes between that fd and the mux.
///
/// How it ends is proto::ChannelEnding's table; this is its hands.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/event_loop/edge_poller.h"
#include "ipc/fd.h"
#include "proto/bytes.h"
#include "proto/channel_ending.h"
#include "proto/chunk_queue.h"
#include "proto/mux.h"
#include "proto/reason.h"

namespace connd::daemon {

struct ChannelOptions {
  bool strict_end = false;
  /// There is no fd yet: what the peer sends is held until attach().
  bool detached = false;
};

/// How a channel ended: what its owner is told, once.
struct ChannelEnd {
  proto::ChannelHandle channel = 0;
  proto::Reason reason = proto::Reason::kClosed;
  std::string text;
  std::uint64_t bytes_in = 0;   ///< from the peer, taken by the app's fd
  std::uint64_t bytes_out = 0;  ///< of the app, given to the connection
};

class ChannelSocket;

/// Who keeps a ChannelSocket.
class ChannelEnds {
 public:
  /// The channel is over. kClosed: both directions ended cleanly. Else the peer, if it still can be told, is told
  /// `reason` by a reset. The ChannelSocket is destroyed later, not from inside this call.
  virtual void channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) = 0;

 protected:
  ~ChannelEnds() = default;
};

/// What a ChannelSocket needs of its MultiplexedSocket.
class ChannelHost : public ChannelEnds {
 public:
  virtual proto::Mux& mux() = 0;
  virtual Loop& loop() = 0;
  [[nodiscard]] virtual proto::TimePoint now() const = 0;
  /// There is output, or a sender became ready.
  virtual void channel_has_work() = 0;
  /// Whether finish() may have been asked for already, and not been read yet.
  [[nodiscard]] virtual bool finish_may_come(proto::ChannelHandle channel) const = 0;

 protected:
  ~ChannelHost() = default;
};

/// What the peer hears of as a reset is, on this side, our own app's or client's doing.
[[nodiscard]] inline proto::Reason told_here(proto::Reason reason) {
  return reason == proto::Reason::kReset ? proto::Reason::kCancelled : reason;
}

class ChannelSocket final : public EdgeHandler, public proto::ChannelUser {
 public:
  /// An app that has closed its end with `strict_end` may have said finish() before: the daemon may read that later, as
  /// the two come by different sockets. What is not finished after this long is an abort, also where there is no credit
  /// to read up to the app's end.
  static constexpr proto::Duration kFinishGrace = std::chrono::seconds(1);
  /// That long again while what its client has said was not all read, up to this often: a client that never stops
  /// talking may not keep its channels' ends back for ever.
  static constexpr int kMostGraces = 60;

  /// `fd` is the daemon's end, non-blocking; none for a channel that begins detached.
  ChannelSocket(ChannelHost& host, proto::ChannelHandle handle, ipc::Fd fd, const ChannelOptions& options);

  /// Begins to watch the fd. An error is the kernel's, for want of memory or watches.
  proto::Result<void> start(EdgePoller& poller);
  /// As both, once, of one that began detached.
  proto::Result<void> attach(ipc::Fd fd, EdgePoller& poller);

  // ---- from the connection ----

  /// Bytes from the peer: written to the app at once, the rest held.
  void deliver(proto::Bytes bytes);
  /// The peer will send no more.
  void peer_ended();

  // ---- from the pump ----

  /// The channel's turn to send: reads the app's bytes into `room` and returns how many.
  std::size_t read_app(proto::MutableBytes room);
  /// Without credit the app's bytes are not read. Its end costs none: it goes to the peer if it is what comes next.
  void look_for_end();

  // ---- from the local API ----

  /// Our direction ends cleanly, after what the app has written so far.
  void finish();

  /// The connection is no more. Only where nothing is to come or go but what is held: `ended_on_wire`.
  void leave_connection(ChannelEnds& ends);

  /// Lets go of the fd: the app sees the end. Nothing happens here any more. May be called from inside its own calls.
  void shut();

  void on_edge(std::uint32_t events) override;

  [[nodiscard]] proto::ChannelHandle handle() const { return handle_; }
  [[nodiscard]] ChannelEnd end(proto::Reason reason, std::string text) const {
    return {handle_, reason, std::move(text), bytes_in_, bytes_out_};
  }
  [[nodiscard]] bool over() const { return ending_.over(); }
  /// Both directions have ended well; only the app has not taken everything.
  [[nodiscard]] bool ended_on_wire() const { return ending_.ended_on_wire(); }
  /// Bytes that the app has not taken.
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  void write_held();
  std::size_t write_app(proto::Bytes bytes);
  void nothing_read(ssize_t n);
  void go_on();
  void act(proto::ChannelEnding::Action action);
  void shut_app(int how);
  void log_halves();
  void await_finish();
  void finish_is_late();

  ChannelHost* host_;  ///< null once the connection has gone
  ChannelEnds* ends_;
  const proto::ChannelHandle handle_;
  const ChannelOptions options_;
  ipc::Fd fd_;
  EdgePoller::Watch watch_;  // after fd_: it goes before the fd is closed
  proto::ChunkQueue held_;   ///< what the peer sent and the app has not taken: at most Mux::max_held
  proto::ChannelEnding ending_;
  std::pair<proto::OurHalf, proto::PeersHalf> logged_{};
  bool eof_ahead_ = false;        ///< an edge has told of EOF: it is behind the bytes that are still to be read
  bool urgent_ = false;           ///< the app has sent out-of-band bytes: a read ends before each, and is no short one
  std::unique_ptr<Timer> grace_;  ///< kFinishGrace, once it has begun
  int graces_ = 0;                ///< that are over
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace connd::daemon
