// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelSocket: where one app meets one peer. It owns the daemon's end of the app's socketpair and what the app has
/// not taken yet, and moves bytes between that fd and the mux.
///
/// The two directions end on their own. Ours (app to peer) ends with EOF on the fd or, with `strict_end`, only by
/// finish(): every other end is an abort. The peer's ends when all of it was written to the fd, which then reads EOF.
///
/// Where the dialect has no half close (DialectRules), the end of our direction is held back until the app has closed
/// its end for good, and ends both; the peer's end ends ours too.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/edge_poller.h"
#include "ipc/fd.h"
#include "proto/bytes.h"
#include "proto/chunk_queue.h"
#include "proto/mux.h"
#include "proto/reason.h"

namespace connd::daemon {

struct ChannelOptions {
  bool strict_end = false;
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

 protected:
  ~ChannelHost() = default;
};

/// What the peer hears of as a reset is, on this side, our own app's or client's doing.
[[nodiscard]] inline proto::Reason told_here(proto::Reason reason) {
  return reason == proto::Reason::kReset ? proto::Reason::kCancelled : reason;
}

class ChannelSocket final : public EdgeHandler {
 public:
  /// An app that has closed its end with `strict_end` may have said finish() before: the daemon may read that later, as
  /// the two come by different sockets. What is not finished after this long is an abort, also where there is no credit
  /// to read up to the app's end.
  static constexpr proto::Duration kFinishGrace = std::chrono::seconds(1);

  /// `fd` is the daemon's end, non-blocking.
  ChannelSocket(ChannelHost& host, proto::ChannelHandle handle, ipc::Fd fd, const ChannelOptions& options);

  /// Begins to watch the fd. An error is the kernel's, for want of memory or watches.
  proto::Result<void> start(EdgePoller& poller);

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
  [[nodiscard]] bool over() const { return over_; }
  /// Both directions have ended well; only the app has not taken everything.
  [[nodiscard]] bool ended_on_wire() const { return send_ == SendHalf::kEnded && receive_ != ReceiveHalf::kOpen; }
  /// Bytes that the app has not taken.
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  /// Our direction, from the app to the peer.
  enum class SendHalf : std::uint8_t {
    kOpen,
    kFinishing,
    kHeldBack,  ///< complete, and the peer cannot be told before the app needs no answer any more
    kEnded,
  };
  /// The peer's direction.
  enum class ReceiveHalf : std::uint8_t { kOpen, kEnding, kEnded };

  void write_held();
  std::size_t write_app(proto::Bytes bytes);
  void nothing_read(ssize_t n);
  void app_ended_writing();
  void send_eof();
  void end_for_good();
  [[nodiscard]] bool half_close() const { return host_->mux().rules().half_close; }
  void end_receive();
  void app_gone();
  void await_finish();
  [[nodiscard]] bool finish_may_be_clean() const;
  void finish_if_both_ended();
  void abort(proto::Reason reason, std::string_view text);

  ChannelHost* host_;  ///< null once the connection has gone
  ChannelEnds* ends_;
  const proto::ChannelHandle handle_;
  const ChannelOptions options_;
  ipc::Fd fd_;
  EdgePoller::Watch watch_;  // after fd_: it goes before the fd is closed
  proto::ChunkQueue held_;   ///< what the peer sent and the app has not taken: at most Mux::max_held
  SendHalf send_ = SendHalf::kOpen;
  ReceiveHalf receive_ = ReceiveHalf::kOpen;
  bool app_closed_ = false;  ///< the app's end is closed, not just shut down
  bool eof_ahead_ = false;   ///< an edge has told of EOF: it is behind the bytes that are still to be read
  bool eof_read_ = false;    ///< the app writes no more
  bool cut_ = false;         ///< the peer's end has cut off what the app had written
  bool over_ = false;
  std::unique_ptr<Timer> grace_;  ///< kFinishGrace, once it has begun
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace connd::daemon
