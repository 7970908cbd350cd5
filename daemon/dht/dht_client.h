// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtClient: the daemon's node of the OpenDHT network. It publishes our certificate, finds those of others, and
/// carries connection requests and answers, whose meaning it does not know.
///
/// Nothing comes to OpenDHT, and nothing goes from it, but through DhtSocket's gate; names are resolved, and the LAN is
/// listened to, by DhtBootstrap.
/// Its parts (dht_client_impl.h) and DhtSocket are all of the daemon that sees OpenDHT. A node runs threads of its own;
/// their callbacks copy what they were given and post it, so that everything below runs, and calls back, on the loop's
/// thread. No callback runs from inside a call, none after the destructor; each may destroy the client.
///
/// What is on the DHT, and under which keys:
/// - our certificate chain, permanently, under the short device id (OpenDHT does so itself), under SHA-1 of the 32
/// bytes
///   of the long id (where Jami's devices of 2026 look; storage nodes up to OpenDHT 2.4 refuse it there), and, for
///   those who know nothing but the long id, as user data under SHA-1 of `jami-connd:certificate:LONG-ID-HEX`;
/// - with an account key, the announcement that this device belongs to the account, permanently, under the account id;
/// - revocation lists of accounts that we know, permanently, as user data under SHA-1 of
/// `jami-connd:revoked:ACCOUNT-HEX`;
/// - requests, for ten minutes, under SHA-1 of `peer:ID-HEX`, ID being the long or the short device id of the receiver;
///   or under keys that only the two know (proto/pair_key.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/dht/lan_discovery.h"
#include "daemon/dht/public_addresses.h"
#include "daemon/dht/reachability.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"
#include "proto/dht_gate.h"

namespace connd::daemon {

/// Bodies of requests, in and out. OpenDHT's values end at 64 KiB; encryption and signature need some of that.
inline constexpr std::size_t kMaxRequestBodyBytes = 60'000;
/// Requests on their way from OpenDHT's thread to the loop; more are dropped and counted. The loop takes them all at
/// each turn, so that only a loop that stands still gets there. As many then wait to be opened, the newest first; of
/// more any one goes.
inline constexpr unsigned kMaxWaitingRequests = 256;
/// The same for those that come by pair keys: a few peers call at a time, and each a few times.
inline constexpr unsigned kMaxWaitingPairRequests = 32;
/// PairStore::kMaxListens.
inline constexpr std::size_t kMaxPairListens = 144;
/// Announcements looked at under the id of one account; those of others are not counted.
inline constexpr unsigned kMaxValuesPerKey = 32;
/// A value that may be a chain; longer ones are not read. Eight certificates of RSA-4096 are 12 KiB; with the default
/// settings no node of ours keeps a longer one.
inline constexpr std::size_t kMaxChainBytes = std::size_t{16} * 1024;
/// Of such values, under one key in one round of a lookup: anybody can put there. Each counts for 1 KiB at least.
inline constexpr std::size_t kMaxChainBytesPerKey = std::size_t{2} * 1024 * 1024;
/// In one lookup, all that are different: a second of the pool's time. Which, chance says: more junk than this hides
/// the certificate from one lookup, and not from the next.
inline constexpr std::size_t kMaxChainBytesPerLookup = std::size_t{4} * 1024 * 1024;
/// On their way from OpenDHT's thread, or waiting to be read, of all lookups together; more are left unread, and come
/// again with the next round.
inline constexpr std::size_t kMaxWaitingChainBytes = std::size_t{16} * 1024 * 1024;
/// Records that others have put under a name. Longer ones are not read: no node with the default settings keeps a value
/// that is longer than 16 KiB in all.
inline constexpr std::size_t kMaxRecordBytes = std::size_t{12} * 1024;
/// Of those under one name, in one search; as with chains.
inline constexpr std::size_t kMaxRecordBytesPerKey = kMaxChainBytesPerKey;
/// The same record is put by as many as know it: under one of so many value ids, so that nodes keep no more of it; and
/// who takes one of them for junk has not taken all.
inline constexpr unsigned kRecordIds = 8;
/// Lookups at one time, and searches for devices. More wait for their turn: as many as the callers have.
inline constexpr std::size_t kMaxLookups = 256;
/// Requests being sent at one time. More wait for their turn: as many as there may be connections, and of those that
/// are large fewer; beyond they fail at once.
inline constexpr std::size_t kMaxSends = 256;
inline constexpr std::size_t kMaxUnsent = 4'096;
inline constexpr std::size_t kMaxUnsentBytes = std::size_t{16} << 20;

enum class DhtLogLevel { kError, kWarning, kDebug };

/// What tells others that a device is its account's: signed by the account's key, which is needed for nothing else.
/// Empty when key or chain cannot be read. Any thread; some milliseconds.
std::string sign_announcement(std::string_view account_key_pem, const std::string& chain_pem);

struct DhtConfig {
  std::string device_key_pem;         ///< RSA: OpenDHT encrypts to nothing else
  std::string certificate_chain_pem;  ///< device, account, CA, in the order in which TLS will present them
  std::string announcement;           ///< of sign_announcement(); empty: the device is not announced under its account

  std::uint16_t port = 0;              ///< UDP; 0: the same after each start, or any free one
  std::string bind4;                   ///< the IPv4 address to bind, empty for all
  std::string bind6;                   ///< the IPv6 address to bind, empty for all
  std::vector<std::string> bootstrap;  ///< HOST:PORT, HOST or [IPV6]:PORT; tried again while there is no connection
  bool lan_discovery = true;           ///< announce this node, and find others, by multicast on the LAN
  std::filesystem::path state_file;    ///< nodes known from the last run (known_nodes_file()); empty: none are kept

  proto::Duration ask_bootstrap_interval = std::chrono::minutes(1);  ///< while few nodes are known

  // What strangers may cost us. Requests above the rates are dropped by OpenDHT.
  int max_requests_per_second = 1600;      ///< of all nodes together, as OpenDHT's own default
  int max_peer_requests_per_second = 200;  ///< of one IP address, as OpenDHT's own default
  int max_searches = 4'096;                ///< keys being searched or listened to
  int max_store_bytes = 16 * 1024 * 1024;  ///< values kept for others
  int max_store_keys = 16'384;
  std::size_t max_value_bytes = 16 * 1024;  ///< of one value kept for others
  bool keep_nothing = false;                ///< for others, but those of private addresses
};

/// The file in the state directory that has the known nodes of the DHT that these lead to: another DHT has a file of
/// its own, lest who goes from one to the other join both. Empty where there is none: the LAN alone.
std::string known_nodes_file(std::vector<std::string> bootstrap);

/// What a client begins with that takes the disk and the private key: keys that were read from their text, and the
/// nodes that were known at the end of the last run.
struct DhtBeginning;
/// Any thread; blocks. Throws as the client does.
std::shared_ptr<const DhtBeginning> read_dht_beginning(const DhtConfig& config);

/// `body` is the msgpack of the value, decrypted; whoever signed it holds `signer`'s key. It may come more than once,
/// and again after a restart: OpenDHT delivers what was put in the last ten minutes.
struct IncomingRequest {
  proto::DeviceId signer;
  proto::ShortDeviceId signer_short;
  proto::ByteVector signer_public_key_der;
  proto::ByteVector body;
  bool at_short_key = false;  ///< it was put under our short id: answer under the peer's short id
  bool at_pair_key = false;   ///< it was put where only the signer and we look
};

/// A device that an account has announced, or that has published its chain under its short id.
struct DhtDevice {
  proto::DeviceId id;
  proto::ShortDeviceId short_id;
  proto::ByteVector public_key_der;  ///< has both ids; to be encrypted to
};

/// Under which of the peer's public ids a request is put.
enum class RequestKeys { kNone, kShort, kLong, kBoth };

enum class DhtState { kDisconnected, kConnecting, kConnected };
const char* to_string(DhtState state);

struct DhtNodeCounts {
  unsigned good = 0;
  unsigned dubious = 0;
  unsigned cached = 0;
  unsigned incoming = 0;
};

/// Counts are up to kDhtStatsInterval old, the rest is of now.
struct DhtStatus {
  DhtState state = DhtState::kDisconnected;  ///< the better one of the two families
  DhtState state4 = DhtState::kDisconnected;
  DhtState state6 = DhtState::kDisconnected;
  std::uint16_t port4 = 0;  ///< 0: this family is not used
  std::uint16_t port6 = 0;
  DhtNodeCounts nodes4;
  DhtNodeCounts nodes6;
  std::size_t stored_values = 0;
  std::size_t stored_bytes = 0;
  std::uint64_t lookups = 0;  ///< of certificates, begun
  std::uint64_t requests_received = 0;
  std::uint64_t requests_ignored = 0;  ///< not signed, not for us, of another type, or too long
  std::uint64_t requests_dropped = 0;  ///< beyond kMaxWaitingRequests
  std::uint64_t log_lines_dropped = 0;
  Reach reach = Reach::kUnknown;  ///< whether others can reach us; see reachability.h
  proto::TimePoint reach_since{};
  std::optional<proto::TimePoint> last_reached;  ///< by a test
  std::uint64_t self_tests = 0;                  ///< begun
  std::uint64_t node_renewals = 0;               ///< nodes of OpenDHT that were made anew, for they were deaf
  proto::DhtGateCounters gate;                   ///< what came from the network and went there
  LanDiscoveryCounters lan;
  PublicAddresses seen_at;              ///< where other nodes see this machine; up to kDhtStatsInterval old
  std::vector<std::string> unresolved;  ///< hosts of bootstrap that had no address when they were last asked
};
inline constexpr proto::Duration kDhtStatsInterval{10'000};

struct DhtHandlers {
  std::function<void(IncomingRequest)> on_request;
  std::function<void(DhtState)> on_state;                       ///< at each change; may be empty
  std::function<void(Reach)> on_reach;                          ///< at each change; may be empty
  std::function<void(DhtLogLevel, const std::string&)> on_log;  ///< OpenDHT's own log; empty (cheap): off
};

class DhtClient {
 public:
  /// Binds, starts the node, publishes and listens. No network is not an error. Throws std::runtime_error, with a text
  /// for the user, when the port is taken, an address cannot be bound, a bootstrap is no HOST:PORT, or the keys cannot
  /// be used.
  /// `beginning` is of the same configuration, made on the pool; without one it is made here, and the loop waits.
  DhtClient(Loop& loop, const DhtConfig& config, DhtHandlers handlers,
            std::shared_ptr<const DhtBeginning> beginning = nullptr);
  /// Waits for OpenDHT's threads, however long they take: where that matters, only after `shutdown`, which has waited
  /// for them without blocking the loop.
  ~DhtClient();
  DhtClient(const DhtClient&) = delete;
  DhtClient& operator=(const DhtClient&) = delete;

  /// Finds certificates whose leaf has the key of `device`, whoever made them; `short_id` adds the key at which Jami's
  /// devices of 2023 publish. One whose issuers cannot be read comes as the leaf alone. Each is shown to `wanted` once.
  /// `done` is called once: with the first that is wanted, or with nothing when all keys were searched some times,
  /// `deadline` has passed, or the client shuts down.
  void find_certificate(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                        proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                        std::function<void(std::optional<proto::CertificateChain>)> done);

  /// Finds the devices that are announced under the id of an account, by a value that the account's key has signed, and
  /// the device whose short id it is. `found` is called for each of them, as it comes, and once with nothing: when the
  /// search is through, `deadline` has passed, or the client shuts down.
  void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                    std::function<void(const std::optional<DhtDevice>&)> found);

  /// Puts a record for good, as user data under SHA-1 of its name, in place of the one of that name. Not signed.
  void publish(const std::string& name, proto::Bytes data);
  /// The records under a name, of anybody, each once, within kMaxRecordBytesPerKey. `done` is called once: when the
  /// search is through, `deadline` has passed, or the client shuts down.
  void find_published(const std::string& name, proto::TimePoint deadline,
                      std::function<void(const std::vector<proto::ByteVector>&)> done);

  /// Signs `body`, encrypts it to the peer's RSA key (SubjectPublicKeyInfo, DER) and puts it where that peer listens.
  /// `done` is called once, as soon as a node has it (true), or when none took it, the key cannot be used or the body
  /// is too long (false). Before the DHT is connected it waits for that. Nobody needs to wait for `done`: a peer may
  /// answer before it comes.
  void send_request(proto::Bytes peer_public_key_der, proto::Bytes body, RequestKeys keys,
                    std::function<void(bool stored)> done, const std::vector<proto::PairKey>& pair_keys = {});

  /// Listens at these keys too from now on, and at no others that were given before: at most kMaxPairListens. What
  /// comes there has a queue and a budget of its own; what another than the peer has signed is ignored.
  void listen_pairs(const std::vector<proto::PairListen>& keys);

  /// A request was sent whose answer is awaited: for some seconds it is looked for at the nodes that store it, too.
  /// Call it again when the request is repeated.
  void expect_answer(const proto::DeviceId& peer);

  /// Addresses have changed: others are asked anew, and what we listen at and have put is woken, and tested.
  void network_changed();
  /// Something else has changed that may have cut us off for a while: the same, for the addresses that there are.
  void network_stirred();

  [[nodiscard]] const DhtStatus& status() const;

  /// Saves the known nodes and ends the node, without blocking the loop; `done` is called once, at most
  /// kDhtShutdownGrace plus the time of OpenDHT's own threads later. Pending lookups end with nothing.
  void shutdown(std::function<void()> done);

 private:
  class Impl;
  // Shared with nobody for longer than one callback: what is posted holds a weak_ptr, so that a callback may destroy
  // the client that calls it.
  std::shared_ptr<Impl> impl_;
};
/// How long `shutdown` lets OpenDHT finish what is under way.
inline constexpr proto::Duration kDhtShutdownGrace{1'000};

}  // namespace connd::daemon
