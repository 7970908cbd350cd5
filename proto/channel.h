// SPDX-License-Identifier: GPL-3.0-or-later
/// One channel as the mux knows it: its place on the wire, its state, its credit.
///
/// Opening and aborting go through `next_state`; each direction then ends on its own (`eof_sent`, `eof_received`).
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>

#include "proto/credit.h"
#include "proto/frame.h"

namespace connd::proto {

/// A channel's name to the rest of the program and to apps: never reused in the daemon's life. 0 is none.
using ChannelHandle = std::uint64_t;

/// Where handles come from: one source for all connections of a daemon. Owned by whoever owns the connections.
class HandleSource {
 public:
  ChannelHandle take() { return next_++; }

 private:
  ChannelHandle next_ = 1;
};

/// What the mux's owner keeps for a channel: derive from it, give the mux a pointer (Mux::set_user), and get it back
/// with what comes for the channel and with its turns to send, without looking anything up. It outlives that use: the
/// mux lets go of it when the channel's handle is dead, or when it is set to another.
class ChannelUser {
 protected:
  ~ChannelUser() = default;
};

enum class ChannelState : std::uint8_t {
  kRequested,  ///< we asked; the answer is awaited
  kOffered,    ///< the peer asked; our answer is awaited
  kOpen,
  kResetSent,  ///< we aborted; what the peer still sends is dropped until its reset (or refusal) comes
  kGone,       ///< nothing of it is on the wire any more
};

enum class ChannelEvent : std::uint8_t {
  kAccepted,  ///< by us or by the peer
  kRefused,
  kResetSent,
  kResetReceived,
  kBothEnded,  ///< EOF was sent and received
};

/// The transition table. nullopt: the event means nothing in that state and changes nothing (a late frame).
std::optional<ChannelState> next_state(ChannelState state, ChannelEvent event);

struct Channel {
  Channel(ChannelHandle h, WireId i, std::string n, ChannelState s, WindowPool& pool)
      : handle(h), id(i), name(std::move(n)), state(s), receive(pool) {}

  ChannelHandle handle;
  WireId id;
  std::string name;
  ChannelState state;
  bool ours = false;  ///< we requested it, so the id is ours to use again
  bool unique = false;
  bool orphan = false;  ///< nobody outside the mux knows it: cancelled, or its open was resolved by another channel
  bool eof_sent = false;
  bool eof_received = false;
  bool ready = false;  ///< the app has bytes for us
  bool bulk = false;   ///< it has used up its credit since it became ready
  ChannelUser* user = nullptr;
  SendCredit credit;
  ReceiveWindow receive;

  /// Its place in the order of senders; managed by SendOrder.
  std::list<Channel*>* queue = nullptr;
  std::list<Channel*>::iterator place{};

  [[nodiscard]] bool can_send() const {
    return state == ChannelState::kOpen && ready && !eof_sent && credit.available() > 0;
  }
};

/// The fair order of channels that have something to send and may. A channel that has just become ready goes before
/// those that have been sending, so that a small message does not wait behind bulk; one in five turns goes to the
/// others all the same, so that nobody starves. A bulk channel that comes back with new credit is not such a one: of
/// thousands there is always some. Holds pointers only: remove a channel before it goes.
class SendOrder {
 public:
  struct Turn {
    Channel* channel;
    std::size_t quantum;  ///< bytes of body it may send in this turn
  };

  /// Adds a channel that is not in the order yet.
  void add(Channel& channel);
  void remove(Channel& channel);
  /// Whose turn it is; nullopt for nobody. The channel stays in the order, now among those that wait longer.
  std::optional<Turn> next();
  [[nodiscard]] bool empty() const { return fresh_.empty() && waiting_.empty(); }

 private:
  std::list<Channel*> fresh_;
  std::list<Channel*> waiting_;
  int fresh_in_a_row_ = 0;
};

}  // namespace connd::proto
