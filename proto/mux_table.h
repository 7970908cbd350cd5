// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxTable: the channels of one connection, by handle, by id and, the unique ones, by name; which ids are whose and
/// which are free; and what each change of a channel's state changes here (PROTOCOL.md, section 10). It owns the
/// channels, and says nothing to the peer.
///
/// A channel has an id until it is gone from the wire, and a handle until it is forgotten. One that nobody outside the
/// mux knows any more (`orphan`) is found by its id alone, and forgotten as soon as it is gone from the wire.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "proto/channel.h"
#include "proto/dialect.h"
#include "proto/mux_config.h"
#include "proto/mux_flow.h"

namespace connd::proto {

class MuxTable {
 public:
  /// `handles` and `flow` outlive it.
  MuxTable(MuxSide side, const DialectRules& rules, HandleSource& handles, MuxFlow& flow)
      : side_(side), rules_(rules), handles_(handles), flow_(flow), last_id_(ids_of_ours().last) {}

  // ---- looking up; null: none ----

  [[nodiscard]] Channel* find(ChannelHandle handle) const;
  /// It is what is asked for next, mostly.
  [[nodiscard]] Channel* find_id(std::uint64_t id);
  /// The channel of this name that is open, or asked for by either side.
  [[nodiscard]] Channel* find_unique(const std::string& name) const;
  /// What is asked for next is this channel, mostly: its handle is found without a search then.
  void expect(Channel& channel) { last_ = &channel; }

  // ---- changes ----

  /// `id` is free; `state` is kRequested, by us, or kOffered, by the peer.
  Channel& add(WireId id, std::string name, ChannelState state, bool unique);
  /// The peer's unique request of the same name has come for the free `id`, and ours, `loser`, is to give way: the
  /// handle, and the name, are those of the new channel from now on, and `loser` is an orphan with a handle of its own.
  Channel& supersede(Channel& loser, WireId id);
  /// Carries the event out, if it means something in the channel's state (next_state). An orphan may be no more then.
  void apply(Channel& channel, ChannelEvent event);
  void forget(Channel& channel);

  // ---- ids ----

  /// Of the half that this side requests.
  [[nodiscard]] bool is_ours(std::uint64_t id) const;
  /// The peer may ask for it, if it is free.
  [[nodiscard]] bool is_peers(std::uint64_t id) const;
  /// One of our half, taken from now on in turn; nullopt when all are in use.
  [[nodiscard]] std::optional<WireId> free_id();

  // ---- counts ----

  /// Channels that have an id.
  [[nodiscard]] std::size_t on_wire() const { return by_id_.size(); }
  /// Of these, cancelled opens whose answer is awaited where the dialect cannot say the cancelling.
  [[nodiscard]] std::size_t unanswered() const { return unanswered_; }
  /// Bytes of the names of requests that wait for an answer.
  [[nodiscard]] std::size_t our_pending_names() const { return our_pending_names_; }
  [[nodiscard]] std::size_t peer_pending_names() const { return peer_pending_names_; }

 private:
  struct Half {
    WireId first, last;
  };
  [[nodiscard]] Half ids_of_ours() const;
  std::size_t& pending_names(const Channel& channel) { return channel.ours ? our_pending_names_ : peer_pending_names_; }
  Channel& insert(std::unique_ptr<Channel> channel);
  void leave_wire(Channel& channel);

  const MuxSide side_;
  const DialectRules rules_;
  HandleSource& handles_;
  MuxFlow& flow_;
  std::unordered_map<ChannelHandle, std::unique_ptr<Channel>> channels_;
  std::unordered_map<WireId, Channel*> by_id_;
  std::unordered_map<std::string, Channel*> unique_names_;
  Channel* last_ = nullptr;  ///< what was looked up by id or expected last: one that is in channels_, or null
  WireId last_id_;           ///< ids are taken in turn, so that one is not used again soon
  std::size_t our_pending_names_ = 0;
  std::size_t peer_pending_names_ = 0;
  std::size_t unanswered_ = 0;
};

}  // namespace connd::proto
