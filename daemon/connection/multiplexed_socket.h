// SPDX-License-Identifier: GPL-3.0-or-later
/// MultiplexedSocket: the connection with one peer device. It owns the link, the mux and the ChannelSockets, and pumps
/// bytes between them. What carries the link is nothing to it.
///
/// The way of a byte: an app's fd is read straight into the mux's output, behind room for a frame header; the link
/// encrypts that into its own output, and sends from there. Back: the link reads and decrypts by two buffers that all
/// links share, and frames' bodies are written to apps from the second one. Nothing is queued while windows are open.
/// Output is made and flushed once per loop turn.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/connection/channel_socket.h"
#include "daemon/event_loop/turn_queue.h"
#include "daemon/link/link.h"
#include "proto/connect.h"
#include "proto/mux.h"
#include "proto/token_bucket.h"

namespace connd::daemon {

/// Numbers that clients see: none comes again while the daemon runs, whatever identity its network has.
struct HandleSources {
  proto::HandleSource channels;
  proto::HandleSource connections;
  proto::HandleSource questions;  ///< whether a peer may connect
};

/// What all connections of the daemon share. All outlive every connection.
struct ConnectionContext {
  Loop& loop;
  EdgePoller& poller;
  TurnQueue& turns;
  PumpScratch& scratch;
  HandleSources& handles;
};

using ConnectionNumber = std::uint64_t;

class MultiplexedSocket final : private Link::Owner, private TurnClient, private ChannelHost {
 public:
  /// Who is told. Calls come out of the pump between two mux events; any member function may be called from them, but
  /// the MultiplexedSocket is not destroyed there.
  class Owner {
   public:
    /// The link is secured, and nothing was said there yet. Other connections with the peer may be destroyed.
    virtual void on_secured(MultiplexedSocket& /*socket*/) {}
    /// The link is secured, and the peer's hello, if its dialect has one, is here.
    virtual void on_up(MultiplexedSocket& socket) = 0;
    virtual void on_channel_requested(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri,
                                      bool unique) = 0;
    /// Our open was accepted (kClosed): call attach() now. Or it was refused, and the handle is dead.
    virtual void on_open_answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                                  const std::string& text) = 0;
    /// The peer took back a request that was not answered yet.
    virtual void on_request_cancelled(MultiplexedSocket& socket, proto::ChannelHandle channel,
                                      proto::Reason reason) = 0;
    virtual void on_channel_closed(MultiplexedSocket& socket, const ChannelEnd& end) = 0;
    /// As ChannelHost::finish_may_come.
    [[nodiscard]] virtual bool finish_may_come(proto::ChannelHandle channel) const = 0;
    /// The connection is over, and `channel` had ended well before: its app has yet to take what it holds. An Owner
    /// that takes it tells its end itself, later; else on_channel_closed follows.
    virtual void on_channel_left(MultiplexedSocket& socket, std::unique_ptr<ChannelSocket>& channel) = 0;
    /// No new channels here, from either side: what comes next goes to another connection.
    virtual void on_going_away(MultiplexedSocket& socket) = 0;
    /// The connection is over. The last call; each channel has been closed or left before it, opens and requests that
    /// were not answered are dead with it. `error` is what proto/ found, if it did.
    virtual void on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
                         std::error_code error) = 0;

   protected:
    ~Owner() = default;
  };

  /// `link` has not begun. The mux's side follows its TLS role.
  MultiplexedSocket(const ConnectionContext& context, Owner& owner, ConnectionNumber number, std::unique_ptr<Link> link,
                    const proto::MuxConfig& config);
  ~MultiplexedSocket();

  /// Begins the handshake. Once, in the turn that made the link.
  void start();

  // ---- channels ----

  /// As Mux::open; the answer comes by on_open_answered. On a connection that has been silent the peer is probed, too:
  /// if it is gone, the open can still be made on another connection.
  proto::Result<proto::Mux::Opened> open(const std::string& uri, bool unique);
  /// The unique channel of this uri, while the connection is up: as Mux::unique_channel.
  [[nodiscard]] proto::ChannelHandle unique_channel(const std::string& uri) const;
  /// Accepts a request. The app's end of the channel (none of a detached one), or why there is none; the peer is told
  /// then.
  proto::Result<ipc::Fd> accept(proto::ChannelHandle channel, const ChannelOptions& options);
  /// After on_open_answered said kClosed: as accept.
  proto::Result<ipc::Fd> attach(proto::ChannelHandle channel, const ChannelOptions& options);
  /// Gives a channel that began detached the daemon's end of what its app has.
  proto::Result<void> attach_app(proto::ChannelHandle channel, ipc::Fd fd);
  void refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  /// Takes an open back that is not answered.
  void cancel(proto::ChannelHandle channel, proto::Reason reason);
  /// channel.finish. False when there is no such channel.
  bool finish(proto::ChannelHandle channel);
  /// Aborts a channel; its on_channel_closed says `reason`. False when there is no such channel.
  bool close_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);

  // ---- the connection ----

  /// What is queued when a connection drains has this long to reach the peer: enough for a full socket buffer on most
  /// paths; and a daemon that stops, and whoever waits for it, is not kept by a peer that takes nothing.
  static constexpr proto::Duration kDrainTime = std::chrono::seconds(3);

  /// No new channels; ends when the open ones have ended, or after kGoAwayTime.
  void close_gracefully(proto::Reason reason, std::string_view text);
  /// Ends now: goaway, close_notify, and on_down(reason) in a later turn. Channels end with kConnectionLost.
  void close_now(proto::Reason reason, std::string_view text);
  /// As close_now; but what is queued for the peer, ends of channels included, is sent before on_down, which comes
  /// kDrainTime later at most, and at once when nothing is queued and no channel open. What still comes from the peer
  /// is for nobody.
  void close_drained(proto::Reason reason, std::string_view text);

  /// Asks the peer for a sign of life, from now on: see Mux::probe.
  void probe();

  [[nodiscard]] ConnectionNumber number() const { return number_; }
  [[nodiscard]] bool may_open();
  [[nodiscard]] bool up() const { return state_ == State::kUp; }
  /// The link is secured, so that the peer can be told why the connection ends.
  [[nodiscard]] bool can_say_why() const { return mux_ != nullptr && state_ < State::kClosing; }
  /// Up, and new channels may be opened.
  [[nodiscard]] bool usable() const { return up() && !mux_->going_away(); }
  [[nodiscard]] const proto::DeviceId& peer() const { return link_->peer(); }
  /// Set when up.
  [[nodiscard]] const proto::CertificateChain* peer_chain() const { return link_->peer_chain(); }
  [[nodiscard]] const Link& link() const { return *link_; }
  [[nodiscard]] const proto::Mux* mux_state() const { return mux_.get(); }
  /// What the dialect can do; once up.
  [[nodiscard]] const proto::DialectRules& rules() const { return mux_->rules(); }
  [[nodiscard]] std::size_t channel_count() const { return channels_.size(); }
  [[nodiscard]] const ChannelSocket* channel(proto::ChannelHandle handle) const;

 private:
  /// What one read takes is at least, and grows with what is read, as long as little work comes with it.
  static constexpr std::size_t kFirstRead = std::size_t{16} << 10;
  enum class State : std::uint8_t { kHandshaking, kGreeting, kUp, kClosing, kDraining, kDown };

  // Link::Owner, TurnClient, ChannelHost
  void link_ready(bool readable, bool writable) override;
  proto::Result<void> link_secured() override;
  void link_heard() override { mux_->heard(now()); }
  proto::Result<void> link_plain(proto::Bytes plain) override;
  bool on_turn() override;
  proto::Mux& mux() override { return *mux_; }
  Loop& loop() override { return context_.loop; }
  [[nodiscard]] proto::TimePoint now() const override { return context_.loop.now(); }
  void channel_has_work() override { request_turn(); }
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle channel) const override {
    return owner_.finish_may_come(channel);
  }
  void channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) override;

  void receive();
  void all_read();
  proto::Result<Link::Status> take_received();
  proto::Result<void> take_events();
  bool reading_stopped();
  void on_event(const proto::MuxEvent& event);
  void on_channel_event(const proto::MuxEvent& event);
  void on_violation(const proto::MuxEvent& event);
  void close_from_peer(const proto::MuxEvent& event);

  bool take_turn();
  bool send_some();
  bool make_output();
  bool drop_output();
  void serve(const proto::Mux::Turn& turn);
  bool gets_through();
  void on_deadline();
  void arm_timer();
  void sweep();
  void fail(std::error_code error);
  void end(proto::Reason reason, std::string text, std::error_code error);

  // multiplexed_socket_end.cpp
  void say_good_bye();
  [[nodiscard]] bool all_delivered() const;
  void write_rest();
  proto::Result<bool> send_rest();
  bool drain();
  bool end_channels();
  void report_down();

  ChannelSocket* find(proto::ChannelHandle handle);

  const ConnectionContext context_;
  Owner& owner_;
  const ConnectionNumber number_;
  const proto::MuxConfig mux_config_;
  std::unique_ptr<proto::Mux> mux_;  ///< once the link is secured
  proto::TokenBucket opens_;         ///< of ours: the peer ends a connection that asks for more (PROTOCOL.md, 14)
  proto::TokenBucket cancels_;       ///< may cross its answers, and are noise to it then
  bool cancelled_too_many_ = false;
  std::unordered_map<proto::ChannelHandle, std::unique_ptr<ChannelSocket>> channels_;
  std::unordered_map<proto::ChannelHandle, std::unique_ptr<ChannelSocket>> ending_;  ///< with the connection
  bool down_due_ = false;                                                            ///< when they have
  std::vector<std::unique_ptr<ChannelSocket>> over_;  ///< ended; destroyed at the end of the turn
  State state_ = State::kHandshaking;
  proto::Reason end_reason_ = proto::Reason::kClosed;
  std::string end_text_;
  std::error_code end_error_;
  std::error_code send_error_;           ///< then nothing is sent any more, and what has come is still read
  bool drains_ = false;                  ///< what is queued goes before the end
  bool all_said_ = false;                ///< the link is closed
  bool paused_ = false;                  ///< the mux has stopped reading
  bool probe_due_ = false;               ///< once all that has come is read
  std::size_t events_ = 0;               ///< of what was read last: frames that are more than bytes of a channel
  std::size_t read_bytes_ = kFirstRead;  ///< at the next read, by how much work the last one was
  bool violation_told_ = false;          ///< one line for each connection: its peer must not fill the log
  std::uint64_t acknowledged_ = 0;       ///< by the peer's machine, at the last look: bytes
  proto::TimePoint link_deadline_ = proto::kNever;  ///< that the timer knows of
  proto::TimePoint down_at_ = proto::kNever;        ///< while it drains
  Timer timer_;
  std::unique_ptr<Link> link_;  // last: it must not call into what is half destroyed
};

}  // namespace connd::daemon
