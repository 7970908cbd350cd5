// SPDX-License-Identifier: GPL-3.0-or-later
/// What DhtClient needs of OpenDHT that has no state: keys, socket and options at start-up, the keys and packings of
/// what is on the DHT, the file of known nodes. For the parts of DhtClient and the tests' load peers alone: OpenDHT's
/// headers are large.
#pragma once

#include <opendht.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <opendht/securedht.h>

#include "daemon/dht/dht_client.h"

namespace connd::daemon {

inline constexpr std::uint32_t kDhtNetwork = 0;  // the public network of Jami
inline constexpr const char* kRequestType = "peer_request";
inline constexpr const char* kChainType = "jami-connd:certificate";
inline constexpr const char* kRecordType = "jami-connd:record";
inline constexpr const char* kProbeType = "jami-connd:probe";
// A routing table of the public network holds about this many good nodes; a few that answer are enough for a start.
inline constexpr std::size_t kMaxSavedNodes = 256;

template <class Id, class Hash>
Id id_of(const Hash& hash) {
  static_assert(Hash::size() == Id::kBytes);
  Id id;
  std::copy_n(hash.data(), Id::kBytes, id.bytes.begin());
  return id;
}

dht::InfoHash hash_of(const proto::ShortDeviceId& id);
dht::InfoHash hash_of(const proto::PairKey& key);
/// The keys of the DHT; see dht_client.h.
dht::InfoHash long_id_key(const proto::DeviceId& device);
dht::InfoHash own_chain_key(const proto::DeviceId& device);
dht::InfoHash request_key(const std::string& id_hex);

dht::InfoHash node_id_of(const dht::InfoHash& certificate_id);

/// One of the dynamic ports (RFC 6335, 6) for a node.
std::uint16_t usual_port(const dht::InfoHash& node_id);

dht::Value::Id random_value_id();
/// The `number`-th of a record (kRecordIds): the same wherever it is put.
dht::Value::Id record_value_id(proto::Bytes data, unsigned number);

/// The store policy of certificates at our node.
bool may_store_certificate(dht::InfoHash key, std::shared_ptr<dht::Value>& value, const dht::InfoHash& from,
                           const dht::SockAddr& address);
/// The edit policy.
bool may_edit_certificate(dht::InfoHash key, const std::shared_ptr<dht::Value>& old, std::shared_ptr<dht::Value>& value,
                          const dht::InfoHash& from, const dht::SockAddr& address);

/// Types in OpenDHT's sense: all that it knows, as our node takes them. How much it keeps is the gate's affair.
std::vector<dht::ValueType> kept_types();
/// A type of which no value takes the place of a longer or shorter one: OpenDHT's account of who keeps how much would
/// go wrong by the difference (proto/dht_keep.h, for those that are signed).
dht::ValueType kept_type(dht::ValueType type);

struct DhtKeys {
  dht::crypto::Identity device;
  std::shared_ptr<dht::Value> announcement;  ///< may be null
};

// The next two throw std::runtime_error with a text for the user.
DhtKeys load_dht_keys(const DhtConfig& config);
/// Host and port of HOST:PORT, HOST, [IPV6]:PORT or [IPV6].
std::pair<std::string, std::string> parse_bootstrap(const std::string& text);

/// A node without a key: it hands on what is encrypted as it came.
dht::DhtRunner::Config dht_runner_config(const DhtConfig& config, const dht::InfoHash& node_id);

/// What we put for good, and where, beyond what OpenDHT puts by itself.
std::vector<std::pair<dht::InfoHash, std::shared_ptr<dht::Value>>> published_values(const DhtKeys& keys);

/// The chain in `packed`, or its leaf alone, when the first key has the id `wanted`. Anybody may have put it there:
/// nothing else is known.
std::optional<proto::CertificateChain> chain_of(const dht::Blob& packed, const proto::DeviceId& wanted);

/// A value that was found under a 40-digit id: a certificate chain, or what an account's key has signed.
struct Announced {
  dht::InfoHash key;
  bool is_chain;
  dht::Blob data;
};
/// The device of it; nothing when it is none, or another one's.
std::optional<DhtDevice> device_of(const Announced& value);

/// Both block; the file is a cache, so that neither has an error to report: what cannot be read is not there, and what
/// could not be written is written the next time.
std::vector<dht::NodeExport> load_known_nodes(const std::filesystem::path& path);
/// Files of other DHTs beside it are removed.
void save_known_nodes(const dht::DhtRunner& runner, const std::filesystem::path& path);

/// See dht_client.h.
struct DhtBeginning {
  DhtKeys keys;
  /// The device's key twice more, for each is used by one thread at a time: by who seals, and who opens what pairs
  /// send.
  std::shared_ptr<dht::crypto::PrivateKey> seals;
  std::shared_ptr<dht::crypto::PrivateKey> opens;
  std::vector<dht::NodeExport> known_nodes;
};

/// At which of our keys a value came.
struct Arrival {
  bool at_short_key = false;
  std::optional<proto::DeviceId> pair_peer{};  ///< at one that we share with this peer
};

/// A value that was put where we listen, before anybody has looked into it.
struct SealedRequest {
  dht::Blob cypher;
  Arrival arrival{};
};
/// Decrypts it and checks the signature; with an RSA key of 4096 bits it takes 4 ms. Nothing when it is not for `key`,
/// not signed, of another type, or too long, or not by the peer whose key it came by. Uses the key: on one thread at a
/// time. (OpenDHT would do the same on the thread of its network, and answer nobody meanwhile.)
std::optional<IncomingRequest> open_request(SealedRequest sealed, const dht::crypto::PrivateKey& key);

/// A request being signed by the private key and encrypted to the peer's, once for all the keys of the DHT that it is
/// put under. `run` may run on any thread.
struct Sealing {
  std::shared_ptr<dht::crypto::PrivateKey> key;
  proto::ByteVector peer_key_der;
  proto::ByteVector body;
  RequestKeys keys = RequestKeys::kBoth;
  dht::Value::Id id = random_value_id();
  std::vector<dht::InfoHash> at;  ///< before: further keys; after: all; empty: the peer's key cannot be used
  // The outcome.
  dht::Blob cypher;

  void run();
};

}  // namespace connd::daemon
