// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtParts: puts values together that come in parts.
///
/// OpenDHT sends values of more than 600 bytes after the message that they belong to, in datagrams of their own. Its
/// own way to put them together reads the values without the try that guards the first reading, so that it never gets
/// to see any part: here they are collected, each whole value is walked, and the message is written anew with the
/// values in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_limits.h"
#include "proto/dht_walker.h"
#include "proto/time.h"

namespace connd::proto {

/// Sans-IO. Messages are known by their sender and transaction id. When there is no room, a message chosen by chance
/// makes it: who floods us shuts others out for a share of the time at most.
class DhtParts {
 public:
  struct Room {
    std::size_t bytes;             ///< at most, in all
    std::size_t bytes_of_address;  ///< when a sender has as many, nothing more is taken from it
  };
  /// What is to stand in the place of a value of a put; nothing when it may pass. `random` as in DhtGateConfig.
  using Judge = std::function<std::optional<ByteVector>(const DhtMessage& put, const DhtValueInfo&)>;
  DhtParts(std::function<std::uint32_t()> random, Room room);

  /// A message came of which `message.sized` is not empty. kNone: it is kept, or was there already. kPartNoRoom: its
  /// sender has too many.
  [[nodiscard]] DhtFault open(const DhtAddress& from, Bytes datagram, const DhtMessage& message, TimePoint now);
  /// A message of the kind kValueData came. kNone: at least one part of it was the next of its value, and is kept.
  /// kStrayPart: none was. kPartNoRoom: its sender has too many bytes here.
  /// `judge` is asked when the message is a put that is complete now: of its values that came in parts, then of those
  /// that came whole.
  [[nodiscard]] DhtFault add(const DhtAddress& from, const DhtMessage& message, TimePoint now, const Judge& judge = {});
  /// Whether a message of this sender and transaction id is open.
  [[nodiscard]] bool knows(const DhtAddress& from, std::uint32_t tid) const;

  /// Whole messages since the last call.
  [[nodiscard]] std::vector<DhtDatagram> take_complete();
  /// Values that were put together and could not be read, or announced and more than kMaxDhtAssembledValues; they are
  /// nil in the message.
  [[nodiscard]] std::uint64_t bad_values() const { return bad_values_; }
  /// Values that `judge` refused.
  [[nodiscard]] std::uint64_t refused_values() const { return refused_values_; }

  /// A time at which something may be too old; kNever: nothing is here.
  [[nodiscard]] TimePoint next_deadline() const { return deadline_; }
  void on_timeout(TimePoint now);
  void clear();

  [[nodiscard]] std::size_t records() const { return records_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Key {
    DhtAddress address;
    std::uint32_t tid = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::uint64_t seed;
    std::size_t operator()(const Key& key) const noexcept { return DhtAddressHash{seed ^ key.tid}(key.address); }
  };
  struct Value {
    DhtSizedValue announced;
    ByteVector bytes;
    [[nodiscard]] bool whole() const { return bytes.size() == announced.size; }
  };
  struct Record {
    Key key;
    bool is_put = false;
    ByteVector datagram;
    std::vector<Value> values;    ///< by index, ascending
    std::vector<DhtCut> cut_out;  ///< ascending
    std::size_t whole = 0;        ///< of `values`
    std::size_t bytes = 0;        ///< of the datagram and what has come of the values
    TimePoint begun;
    TimePoint last;
  };
  struct Share {
    std::size_t records = 0;
    std::size_t bytes = 0;
  };

  [[nodiscard]] Record* find(const Key& key);
  void make_room(std::size_t records, std::size_t bytes, const Record* keep);
  void add_bytes(Record& record, std::size_t bytes);
  void remove(std::size_t slot);
  bool add_part(Record& record, const DhtPart& part);
  void judge_again(Record& record, const DhtMessage& put, const Judge& judge);
  void complete(Record& record, const Judge& judge);

  std::function<std::uint32_t()> random_;
  Room room_;
  std::vector<std::unique_ptr<Record>> records_;  ///< in no order, for a choice by chance
  std::unordered_map<Key, std::size_t, KeyHash> slots_;
  std::unordered_map<DhtAddress, Share, DhtAddressHash> shares_;
  std::size_t bytes_ = 0;
  std::uint64_t bad_values_ = 0;
  std::uint64_t refused_values_ = 0;
  std::vector<DhtDatagram> complete_;
  TimePoint deadline_ = kNever;
};

}  // namespace connd::proto
