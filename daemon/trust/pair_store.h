// SPDX-License-Identifier: GPL-3.0-or-later
/// PairStore: the secrets that we share with peers, from our last TLS sessions with them, for pair keys
/// (PROTOCOL.md 4.1).
///
/// A cache: who has lost a secret is reached by its public keys a second later. The file is for its owner alone.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "daemon/system/outcome.h"
#include "proto/pair_key.h"

namespace connd::daemon {

/// Movable; used on one thread, the loop's. Only `serialize`'s bytes go elsewhere, to be written; they hold the
/// secrets.
class PairStore {
 public:
  /// Those that we call by pair keys. 27 KiB on disk.
  static constexpr std::size_t kMaxPeers = 256;
  /// Those that we listen for: each key costs 1,500 datagrams (200 kB) an hour, for OpenDHT listens at four nodes and
  /// says so to each of them every 20 s.
  static constexpr std::size_t kMaxListened = 64;
  /// Two, for connections that cross end in another order at either side, and one may have come up at one side alone.
  static constexpr std::size_t kMaxSecrets = 2;
  /// Those that we listen for by both secrets; for the others by the newest, as the peer puts what it sends at both. An
  /// older one serves when the newest came up here alone, and is of the past when other connections have followed.
  static constexpr std::size_t kMaxListenedTwice = 8;
  /// Today's, and those of the day beside it.
  static constexpr std::size_t kMaxListens = 2 * (kMaxListened + kMaxListenedTwice);
  static constexpr std::size_t kMaxFileBytes = 64 * 1024;

  struct Pair {
    proto::DeviceId peer;
    bool allowed;                            ///< it was when the secret was made; else we had called it
    std::vector<proto::PairSecret> secrets;  ///< newest first
  };

  /// Reads `path`; no file, and a damaged one, is none. Failures: it cannot be read.
  static Outcome<PairStore> open(std::string path);

  /// A connection has come up; the peer is the one that was connected last. Beyond the bound the last one goes.
  void add(const proto::DeviceId& peer, const proto::PairSecret& secret, bool allowed);
  /// As if it had just been connected; false when it is not here.
  bool touch(const proto::DeviceId& peer);
  void set_allowed(const proto::DeviceId& peer, bool allowed);
  bool forget(const proto::DeviceId& peer);

  /// Last connected first.
  [[nodiscard]] const std::list<Pair>& pairs() const { return pairs_; }

  /// Where a message for `peer` is put at that time (seconds since 1970); none when it is not here.
  [[nodiscard]] std::vector<proto::PairKey> keys_to(const proto::DeviceId& peer, std::int64_t now_unix) const;
  /// Where `own` listens at that time: today's keys of the first kMaxListened (by both secrets for kMaxListenedTwice),
  /// and those of the day that begins or has ended within kNeighbourSeconds, for clocks differ.
  [[nodiscard]] std::vector<proto::PairListen> listens(const proto::DeviceId& own, std::int64_t now_unix) const;
  static constexpr std::int64_t kNeighbourSeconds = 3'600;

  // As in RequestLog: one snapshot at a time is written to path(), with mode 0600; what came after it is still dirty.
  struct Snapshot {
    proto::ByteVector bytes;
    std::uint64_t change;
  };
  [[nodiscard]] bool dirty() const { return change_ != saved_change_; }
  [[nodiscard]] Snapshot serialize() const;
  void saved(std::uint64_t change) { saved_change_ = change; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit PairStore(std::string path) : path_(std::move(path)) {}
  bool load(proto::Bytes bytes);
  std::list<Pair>::iterator find(const proto::DeviceId& peer);

  std::string path_;
  std::list<Pair> pairs_;  ///< few, and looked through when a connection is made
  std::uint64_t change_ = 0;
  std::uint64_t saved_change_ = 0;
};

}  // namespace connd::daemon
