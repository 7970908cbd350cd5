// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxFlow: how much each channel of a connection may send and be sent, and whose turn it is. With credit that is
/// PROTOCOL.md, section 12: windows, and the pool that bounds them all. Where the dialect has none, what the peer sends
/// is bounded by the brake (17), and what we send by the link's pace alone.
///
/// Sans-IO. Channels are the table's; each is told of here when it changes (update), leaves the wire (ended), and
/// before it goes (forget).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "proto/brake.h"
#include "proto/channel.h"
#include "proto/credit.h"
#include "proto/result.h"
#include "proto/time.h"

namespace connd::proto {

class MuxFlow {
 public:
  /// `credit`: as DialectRules. `max_buffer`: bytes that all channels together may hold for apps.
  MuxFlow(bool credit, std::uint64_t max_buffer, std::uint32_t max_window);

  /// What the receive windows of this connection's channels share.
  [[nodiscard]] WindowPool& pool() { return pool_; }

  // ---- from the peer to us ----

  /// The channel's first window, to be sent with its request or accept; once. Only with credit.
  std::uint32_t first_window(Channel& channel, TimePoint now) { return channel.receive.open(now); }
  /// `bytes` came. kCreditOverrun: they were not promised.
  Result<void> received(Channel& channel, std::size_t bytes, TimePoint now);
  /// The app took `bytes`. Returns the credit to send to the peer now; 0: none.
  std::uint32_t consumed(Channel& channel, std::size_t bytes, TimePoint now);

  // ---- from us to the peer ----

  /// The channel was accepted.
  void opened(Channel& channel);
  /// The peer gave credit. kCreditTooLarge: of nothing, or too much.
  Result<void> granted(Channel& channel, std::uint64_t bytes);
  /// The app has bytes to send, or none.
  void set_ready(Channel& channel, bool ready);
  struct Turn {
    Channel* channel;
    std::size_t bytes;  ///< at most this many, of credit and fairness
  };
  /// Whose turn to send it is; nullopt when nobody can.
  std::optional<Turn> next();
  /// The channel sent `bytes` of what its turn allowed.
  void sent(Channel& channel, std::size_t bytes);
  /// Nobody can send.
  [[nodiscard]] bool nobody() const { return order_.empty(); }

  // ---- changes ----

  /// Its state has changed, or our direction of it has ended.
  void update(Channel& channel);
  /// Nothing of it is on the wire any more; what is held for its app still counts.
  void ended(Channel& channel);
  void forget(Channel& channel);

  // ---- what is held ----

  /// The connection is not to be read: see Brake.
  [[nodiscard]] bool stopped() const { return brake_.stopped(); }
  [[nodiscard]] TimePoint deadline() const { return brake_.deadline(); }
  /// At the deadline: the channels that have to end as `stalled`.
  std::vector<ChannelHandle> expire(TimePoint now) { return brake_.expire(now); }
  /// Bytes that may be held for one app at most.
  [[nodiscard]] std::size_t max_held() const;
  /// Promised to the peer plus held for apps, beyond kMinWindow each.
  [[nodiscard]] std::uint64_t buffered_bytes() const;

 private:
  const bool credit_;
  const std::uint64_t max_buffer_;
  WindowPool pool_;
  Brake brake_;  ///< without credit
  SendOrder order_;
};

}  // namespace connd::proto
