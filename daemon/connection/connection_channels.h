// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionChannels: the ChannelSockets of one connection: made when a channel has been accepted, handed what comes
/// for them and their turns to send, and destroyed when they are over. The mux gives back a pointer to each with what
/// it is about, so that no frame needs looking one up.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/connection/channel_socket.h"
#include "daemon/connection/connection_context.h"
#include "daemon/connection/connection_life.h"
#include "daemon/connection/open_pace.h"
#include "proto/mux.h"

namespace connd::daemon {

class ConnectionChannels final : private ChannelHost {
 public:
  /// Who is told; outlives it.
  class Owner {
   public:
    /// There is output, or a sender became ready: call serve(), and flush, in this turn.
    virtual void channels_have_work() = 0;
    /// Each channel's end, once.
    virtual void channel_closed(const ChannelEnd& end) = 0;
    /// As MultiplexedSocket::Owner::on_channel_left.
    virtual void channel_left(std::unique_ptr<ChannelSocket>& channel) = 0;
    /// As ChannelHost.
    [[nodiscard]] virtual bool channel_may_finish(proto::ChannelHandle channel) const = 0;

   protected:
    ~Owner() = default;
  };

  /// All outlive it.
  ConnectionChannels(const ConnectionContext& context, Owner& owner, const ConnectionLife& life)
      : context_(context), owner_(owner), life_(life), pace_(context.loop.now()) {}
  /// The link is secured, and `mux` there, which outlives it. Nothing has channels before.
  void begin(proto::Mux& mux) { mux_ = &mux; }

  // ---- for the local side ----

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
  /// Aborts a channel; its end says `reason`. False when there is no such channel.
  bool close(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  /// Counts an open; false: there were too many for now.
  [[nodiscard]] bool may_open() { return pace_.open(now()); }

  // ---- for the connection ----

  /// kData, kEnd or kReset.
  void on_event(const proto::MuxEvent& event);
  /// A channel's turn to send: its app's bytes go into the mux's output.
  void serve(const proto::Mux::Turn& turn);
  /// Destroys channels that are over. Called when no function of theirs is on the stack.
  void sweep() { over_.clear(); }
  /// The connection ends, and each channel with it, by end_some(); no event and no turn comes any more.
  void begin_end();
  /// Ends some of them: tens of thousands may be left. True: there are more.
  bool end_some();
  /// None is left to be ended.
  [[nodiscard]] bool all_ended() const { return ending_.empty(); }

  [[nodiscard]] std::size_t size() const { return channels_.size(); }
  [[nodiscard]] const ChannelSocket* find(proto::ChannelHandle channel) const { return look_up(channel); }

 private:
  using Channels = std::unordered_map<proto::ChannelHandle, std::unique_ptr<ChannelSocket>>;

  // ChannelHost
  proto::Mux& mux() override { return *mux_; }
  Loop& loop() override { return context_.loop; }
  [[nodiscard]] proto::TimePoint now() const override { return context_.loop.now(); }
  void channel_has_work() override { owner_.channels_have_work(); }
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle channel) const override {
    return owner_.channel_may_finish(channel);
  }
  void channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) override;

  ChannelSocket* look_up(proto::ChannelHandle channel) const;
  void add(proto::ChannelHandle handle, std::unique_ptr<ChannelSocket> channel);
  void close_from_peer(const proto::MuxEvent& event);
  void bury(Channels::iterator it, const ChannelEnd& end);

  const ConnectionContext& context_;
  Owner& owner_;
  const ConnectionLife& life_;
  proto::Mux* mux_ = nullptr;
  OpenPace pace_;
  Channels channels_;
  Channels ending_;                                   ///< with the connection
  std::vector<std::unique_ptr<ChannelSocket>> over_;  ///< ended; destroyed at the end of the turn
};

}  // namespace connd::daemon
