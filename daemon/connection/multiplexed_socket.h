// SPDX-License-Identifier: GPL-3.0-or-later
/// MultiplexedSocket: the connection with one peer device. It owns the link, the mux and the ChannelSockets, and pumps
/// bytes between them. What carries the link is nothing to it.
///
/// The way of a byte: an app's fd is read straight into the mux's output, behind room for a frame header; the link
/// encrypts that into its own output, and sends from there. Back: the link reads and decrypts by two buffers that all
/// links share, and frames' bodies are written to apps from the second one. Nothing is queued while windows are open.
/// Output is made and flushed once per loop turn.
///
/// Its parts, each with a header of its own: ConnectionLife is its state, ConnectionChannels has the ChannelSockets,
/// OutputPump is the way from the mux into the link, GoodBye its end. The way from the link into the mux is here.
#pragma once

#include <memory>
#include <string>

#include "daemon/connection/channel_socket.h"
#include "daemon/connection/connection_channels.h"
#include "daemon/connection/connection_context.h"
#include "daemon/connection/connection_life.h"
#include "daemon/connection/good_bye.h"
#include "daemon/connection/output_pump.h"
#include "daemon/connection/read_size.h"
#include "daemon/event_loop/turn_queue.h"
#include "daemon/link/link.h"
#include "proto/mux.h"

namespace connd::daemon {

class MultiplexedSocket final : private Link::Owner, private TurnClient, private ConnectionChannels::Owner {
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
    /// Our open was accepted (kClosed): call channels().attach() now. Or it was refused, and the handle is dead.
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
    /// No new channels here, from either side: what comes next goes to another connection, as usable() says from now
    /// on. Opens that are refused for it come back as such.
    virtual void on_going_away(MultiplexedSocket& /*socket*/) {}
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

  /// Begins the handshake. Once, in the turn that made the link.
  void start();

  // ---- channels ----

  /// As Mux::open; the answer comes by on_open_answered. On a connection that has been silent the peer is probed, too:
  /// if it is gone, the open can still be made on another connection.
  proto::Result<proto::Mux::Opened> open(const std::string& uri, bool unique);
  /// The unique channel of this uri, while the connection is up: as Mux::unique_channel.
  [[nodiscard]] proto::ChannelHandle unique_channel(const std::string& uri) const;
  [[nodiscard]] ConnectionChannels& channels() { return channels_; }
  [[nodiscard]] const ConnectionChannels& channels() const { return channels_; }

  // ---- the connection ----

  /// No new channels; ends when the open ones have ended, or after kGoAwayTime.
  void close_gracefully(proto::Reason reason, std::string_view text);
  /// Ends now: goaway, close_notify, and on_down(reason) in a later turn. Channels end with kConnectionLost.
  void close_now(proto::Reason reason, std::string_view text);
  /// As close_now; but what is queued for the peer, ends of channels included, is sent before on_down, which comes
  /// GoodBye::kDrainTime later at most, and at once when nothing is queued and no channel open. What still comes from
  /// the peer is for nobody.
  void close_drained(proto::Reason reason, std::string_view text);

  /// Asks the peer for a sign of life, from now on: see Mux::probe.
  void probe();

  [[nodiscard]] ConnectionNumber number() const { return life_.number(); }
  [[nodiscard]] bool up() const { return life_.up(); }
  /// The link is secured, so that the peer can be told why the connection ends.
  [[nodiscard]] bool can_say_why() const { return mux_ != nullptr && !life_.ending(); }
  /// Up, and new channels may be opened.
  [[nodiscard]] bool usable() const { return up() && !mux_->going_away(); }
  [[nodiscard]] const proto::DeviceId& peer() const { return link_->peer(); }
  /// Set when up.
  [[nodiscard]] const proto::CertificateChain* peer_chain() const { return link_->peer_chain(); }
  [[nodiscard]] const Link& link() const { return *link_; }
  [[nodiscard]] const proto::Mux* mux_state() const { return mux_.get(); }
  /// What the dialect can do; once up.
  [[nodiscard]] const proto::DialectRules& rules() const { return mux_->rules(); }

 private:
  // Link::Owner, TurnClient, ConnectionChannels::Owner
  void link_ready(bool readable, bool writable) override;
  proto::Result<void> link_secured() override;
  void link_heard() override { mux_->heard(now()); }
  proto::Result<void> link_plain(proto::Bytes plain) override;
  bool on_turn() override;
  void channels_have_work() override { request_turn(); }
  void channel_closed(const ChannelEnd& end) override { owner_.on_channel_closed(*this, end); }
  void channel_left(std::unique_ptr<ChannelSocket>& channel) override { owner_.on_channel_left(*this, channel); }
  [[nodiscard]] bool channel_may_finish(proto::ChannelHandle channel) const override {
    return owner_.finish_may_come(channel);
  }
  [[nodiscard]] proto::TimePoint now() const { return context_.loop.now(); }

  void receive();
  bool reading_stopped();
  proto::Result<void> take_events();
  void on_event(const proto::MuxEvent& event);
  void on_violation(const proto::MuxEvent& event);

  bool take_turn();
  bool leave();
  void on_deadline();
  void arm_timer();
  void fail(std::error_code error);
  void end(proto::Reason reason, std::string text, std::error_code error);

  const ConnectionContext context_;
  MultiplexedSocket::Owner& owner_;
  const proto::MuxConfig mux_config_;
  ConnectionLife life_;
  std::unique_ptr<proto::Mux> mux_;  ///< once the link is secured
  ConnectionChannels channels_;
  OutputPump output_;
  GoodBye good_bye_;
  ReadSize read_size_;
  bool paused_ = false;                             ///< the mux has stopped reading
  bool probe_due_ = false;                          ///< once all that has come is read
  bool violation_told_ = false;                     ///< one line for each connection: its peer must not fill the log
  proto::TimePoint link_deadline_ = proto::kNever;  ///< that the timer knows of
  Timer timer_;
  std::unique_ptr<Link> link_;  // last: it must not call into what is half destroyed
};

}  // namespace connd::daemon
