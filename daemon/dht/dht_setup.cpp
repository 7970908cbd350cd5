// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_setup.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <random>
#include <stdexcept>

#include <sys/socket.h>

#include "daemon/dht/dht_failure.h"
#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr const char* kDefaultBootstrapPort = "4222";  // OpenDHT's well-known port
constexpr const char* kKnownNodesPrefix = "dht-nodes";
constexpr std::size_t kMaxStateFileBytes = 64 * 1024;  // 256 nodes are about 16 KiB

// The announcement of a device under its account's id (JAMI_WIRE, "Finding a device").
struct DeviceAnnouncement {
  dht::InfoHash dev;
  std::shared_ptr<dht::crypto::PublicKey> pk;
  template <class Packer>
  void msgpack_pack(Packer& packer) const {
    packer.pack_map(2);
    packer.pack(std::string("dev"));
    packer.pack(dev);
    packer.pack(std::string("pk"));
    pk->msgpack_pack(packer);
  }
};

/// What another bootstrap list, or an older version, has left beside it.
void remove_other_nodes(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::directory_iterator at(directory_of(path.string()), error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool other = name.starts_with(kKnownNodesPrefix) && !name.starts_with(path.filename().string());
    std::error_code ignored;
    if (other) std::filesystem::remove(at->path(), ignored);
  }
}

}  // namespace

dht::InfoHash hash_of(const proto::ShortDeviceId& id) {
  return {id.bytes.data(), id.bytes.size()};
}

dht::InfoHash hash_of(const proto::PairKey& key) {
  return {key.bytes.data(), key.bytes.size()};
}

dht::InfoHash long_id_key(const proto::DeviceId& device) {
  return dht::InfoHash::get(device.bytes.data(), device.bytes.size());
}

dht::InfoHash own_chain_key(const proto::DeviceId& device) {
  return dht::InfoHash::get(std::string(kChainType) + ":" + device.hex());
}

dht::InfoHash request_key(const std::string& id_hex) {
  return dht::InfoHash::get("peer:" + id_hex);
}

// What OpenDHT makes of a certificate's id: the same after each start, so that our neighbours know us again.
dht::InfoHash node_id_of(const dht::InfoHash& certificate_id) {
  return dht::InfoHash::get("node:" + certificate_id.toString());
}

std::uint16_t usual_port(const dht::InfoHash& node_id) {
  constexpr unsigned kFirst = 49'152;
  const unsigned number = node_id[0] * 256u + node_id[1];
  return static_cast<std::uint16_t>(kFirst + number % (65'536 - kFirst));
}

dht::Value::Id random_value_id() {
  dht::crypto::random_device random;
  return std::uniform_int_distribution<dht::Value::Id>(1)(random);
}

// Nodes refuse another value of an id that they have; the same one they keep for longer.
dht::Value::Id record_value_id(proto::Bytes data, unsigned number) {
  dht::Blob counted(data.begin(), data.end());
  counted.push_back(static_cast<std::uint8_t>(number));
  const dht::InfoHash hash = dht::InfoHash::get(counted);
  dht::Value::Id id = 0;
  std::memcpy(&id, hash.data(), sizeof id);
  return id == 0 ? 1 : id;  // 0 is none
}

// OpenDHT 2.4 lets a certificate be stored under its short id alone. Our own nodes take it under the hash of its long
// id too: the more of them there are, the better devices are found by that id.
bool may_store_certificate(dht::InfoHash key, std::shared_ptr<dht::Value>& value, const dht::InfoHash&,
                           const dht::SockAddr&) {
  if (value->isSigned()) return false;
  try {
    const dht::crypto::Certificate certificate(value->data);
    return certificate.getId() == key || long_id_key(id_of<proto::DeviceId>(certificate.getLongId())) == key;
  } catch (const std::exception&) {
    return false;
  }
}

// OpenDHT checks no signature of what takes the place of something unsigned. A certificate needs none.
bool may_edit_certificate(dht::InfoHash key, const std::shared_ptr<dht::Value>& old, std::shared_ptr<dht::Value>& value,
                          const dht::InfoHash& from, const dht::SockAddr& address) {
  return !value->isSigned() && dht::CERTIFICATE_TYPE.editPolicy(key, old, value, from, address);
}

dht::ValueType kept_type(dht::ValueType type) {
  type.editPolicy = [own = std::move(type.editPolicy)](dht::InfoHash key, const std::shared_ptr<dht::Value>& old,
                                                       std::shared_ptr<dht::Value>& value, const dht::InfoHash& from,
                                                       const dht::SockAddr& address) {
    return value->size() == old->size() && own(key, old, value, from, address);
  };
  return type;
}

std::vector<dht::ValueType> kept_types() {
  std::vector<dht::ValueType> out;
  for (const dht::ValueType& type : dht::DEFAULT_TYPES) out.push_back(kept_type(type));
  for (const dht::ValueType& type : dht::DEFAULT_INSECURE_TYPES) out.push_back(kept_type(type));
  out.push_back(kept_type({dht::CERTIFICATE_TYPE.id, dht::CERTIFICATE_TYPE.name, dht::CERTIFICATE_TYPE.expiration,
                           may_store_certificate, may_edit_certificate}));
  return out;
}

std::string sign_announcement(std::string_view account_key_pem, const std::string& chain_pem) {
  try {
    const dht::crypto::PrivateKey account(account_key_pem);
    const dht::crypto::Certificate device{std::string_view(chain_pem)};
    const DeviceAnnouncement announcement{device.getId(),
                                          std::make_shared<dht::crypto::PublicKey>(device.getPublicKey())};
    dht::Value announced(dht::ValueType::USER_DATA, announcement, random_value_id());
    announced.sign(account);
    const dht::Blob packed = dht::packMsg(announced);
    return {packed.begin(), packed.end()};
  } catch (const std::exception&) {
    return {};
  }
}

namespace {

/// Null: there is none.
std::shared_ptr<dht::Value> read_announcement(const std::string& packed) {
  if (packed.empty()) return nullptr;
  try {
    const auto unpacked = msgpack::unpack(packed.data(), packed.size());
    return std::make_shared<dht::Value>(*unpacked);
  } catch (const std::exception& e) {
    fail_dht(std::string("the device's announcement cannot be read: ") + e.what());
  }
}

}  // namespace

DhtKeys load_dht_keys(const DhtConfig& config) {
  DhtKeys keys;
  try {
    keys.device = {std::make_shared<dht::crypto::PrivateKey>(std::string_view(config.device_key_pem)),
                   std::make_shared<dht::crypto::Certificate>(std::string_view(config.certificate_chain_pem))};
    if (keys.device.first->getPublicKey() != keys.device.second->getPublicKey()) {
      fail_dht("the device key does not belong to the device certificate");
    }
    keys.announcement = read_announcement(config.announcement);
    if (keys.announcement && (!keys.device.second->issuer || !keys.announcement->owner ||
                              *keys.announcement->owner != keys.device.second->issuer->getPublicKey())) {
      fail_dht("the device's announcement is not signed by the account that issued its certificate");
    }
  } catch (const dht::crypto::CryptoException& e) {
    fail_dht(std::string("the device's key or certificate cannot be read: ") + e.what());
  }
  try {
    (void)keys.device.second->getPublicKey().encrypt(dht::Blob{0});
  } catch (const dht::crypto::CryptoException&) {
    fail_dht("the device key is not an RSA key, and OpenDHT encrypts to no other");
  }
  return keys;
}

std::shared_ptr<const DhtBeginning> read_dht_beginning(const DhtConfig& config) {
  const auto key = [&config] {
    return std::make_shared<dht::crypto::PrivateKey>(std::string_view(config.device_key_pem));
  };
  DhtKeys keys = load_dht_keys(config);
  return std::make_shared<DhtBeginning>(
      DhtBeginning{std::move(keys), key(), key(), load_known_nodes(config.state_file)});
}

std::pair<std::string, std::string> parse_bootstrap(const std::string& text) {
  std::string host = text;
  std::string port = kDefaultBootstrapPort;
  const std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const bool digits = !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), ::isdigit);
  const bool bare6 = bracket == std::string::npos && host.find(':') != std::string::npos;
  if (host.empty() || !digits || std::stoul(port) == 0 || std::stoul(port) > 65'535 || bare6) {
    fail_dht("bootstrap '" + text + "' is not HOST:PORT");
  }
  return {host, port};
}

dht::DhtRunner::Config dht_runner_config(const DhtConfig& config, const dht::InfoHash& node_id) {
  dht::DhtRunner::Config out;
  out.dht_config.node_config.node_id = node_id;
  out.dht_config.node_config.network = kDhtNetwork;
  out.dht_config.node_config.max_req_per_sec = config.max_requests_per_second;
  out.dht_config.node_config.max_peer_req_per_sec = config.max_peer_requests_per_second;
  out.dht_config.node_config.max_searches = config.max_searches;
  out.dht_config.node_config.max_store_size = config.max_store_bytes;
  out.dht_config.node_config.max_store_keys = config.max_store_keys;
  out.threaded = true;
  out.peer_discovery = out.peer_publish = false;  // LanDiscovery does it: OpenDHT's own takes whatever comes
  return out;
}

namespace {

/// OpenDHT's hint for proxies of phones (dht::Value::priority): 0 wakes a phone that sleeps. What is put for good, and
/// put again every few minutes, need not.
constexpr unsigned kNormalPriority = 1;

}  // namespace

std::vector<std::pair<dht::InfoHash, std::shared_ptr<dht::Value>>> published_values(const DhtKeys& keys) {
  const auto& certificate = *keys.device.second;
  const auto device = id_of<proto::DeviceId>(certificate.getLongId());
  // Random value ids: with a fixed one anybody could take the place first, and values that are not signed cannot be
  // edited. What a former run left is gone after ten minutes.
  const auto bare = [&] { return std::make_shared<dht::Value>(dht::CERTIFICATE_TYPE, certificate, random_value_id()); };
  std::vector<std::pair<dht::InfoHash, std::shared_ptr<dht::Value>>> out;
  out.emplace_back(long_id_key(device), bare());
  // Where every node of OpenDHT that has a key puts it.
  out.emplace_back(certificate.getId(), bare());
  auto chain = std::make_shared<dht::Value>(dht::ValueType::USER_DATA.id, certificate.getPacked(), random_value_id());
  chain->user_type = kChainType;
  out.emplace_back(own_chain_key(device), std::move(chain));
  if (keys.announcement) out.emplace_back(keys.announcement->owner->getId(), keys.announcement);
  for (auto& [key, value] : out) value->priority = kNormalPriority;
  return out;
}

namespace {

/// The certificates in `packed`, all or the leaf alone. OpenDHT reads what OpenDHT has written: PEM or DER, bare or
/// packed once more by msgpack.
std::optional<proto::CertificateChain> certificates_in(const dht::Blob& packed, bool all) {
  std::string pem;
  try {
    pem = dht::crypto::Certificate(packed).toString(all);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  auto chain = proto::CertificateChain::from_pem(pem);
  if (!chain) return std::nullopt;
  return std::move(*chain);
}

}  // namespace

std::optional<proto::CertificateChain> chain_of(const dht::Blob& packed, const proto::DeviceId& wanted) {
  auto chain = certificates_in(packed, true);
  if (!chain) chain = certificates_in(packed, false);
  if (chain && chain->device_id() != wanted) return std::nullopt;
  return chain;
}

namespace {

/// {dev: short id, pk: public key}, the two of which have to agree.
std::optional<FoundDevice> announced_device(const dht::Blob& data) {
  const msgpack::unpack_limit limit(/*array*/ 64, /*map*/ 16, /*str*/ 256, /*bin*/ 8'192, /*ext*/ 0, /*depth*/ 4);
  try {
    const auto unpacked =
        msgpack::unpack(reinterpret_cast<const char*>(data.data()), data.size(), nullptr, nullptr, limit);
    const auto members = unpacked->as<std::map<std::string, msgpack::object>>();
    const auto dev = members.at("dev").as<dht::InfoHash>();
    auto key = members.at("pk").as<dht::Blob>();
    const auto short_id = proto::short_device_id_of(key);
    if (short_id != id_of<proto::ShortDeviceId>(dev) || !proto::is_usable_key(key)) return std::nullopt;
    return FoundDevice{proto::device_id_of(key), short_id, std::move(key)};
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<FoundDevice> device_of(const Announced& value) {
  if (!value.is_chain) return announced_device(value.data);
  const auto leaf = certificates_in(value.data, false);
  if (!leaf || hash_of(leaf->short_device_id()) != value.key) return std::nullopt;
  return FoundDevice{leaf->device_id(), leaf->short_device_id(), leaf->public_key_der()};
}

std::string known_nodes_file(std::vector<std::string> bootstrap) {
  if (bootstrap.empty()) return {};
  std::sort(bootstrap.begin(), bootstrap.end());
  std::string all;
  for (const auto& place : bootstrap) all += place + "\n";
  return kKnownNodesPrefix + ("-" + dht::InfoHash::get(all).toString().substr(0, 16));
}

std::vector<dht::NodeExport> load_known_nodes(const std::filesystem::path& path) {
  if (path.empty()) return {};
  const auto file = read_bounded(path, kMaxStateFileBytes);
  if (!file || !*file) return {};
  const proto::ByteVector& content = **file;
  try {
    // Without limits four damaged bytes make msgpack ask for gigabytes.
    const msgpack::unpack_limit limit(kMaxSavedNodes, /*map*/ 2, /*str*/ 8, /*bin*/ sizeof(sockaddr_storage),
                                      /*ext*/ 0, /*depth*/ 4);
    const auto unpacked =
        msgpack::unpack(reinterpret_cast<const char*>(content.data()), content.size(), nullptr, nullptr, limit);
    auto nodes = unpacked->as<std::vector<dht::NodeExport>>();
    return nodes;
  } catch (const std::exception&) {
    return {};  // a damaged cache is no cache
  }
}

void save_known_nodes(const dht::DhtRunner& runner, const std::filesystem::path& path) {
  if (path.empty()) return;
  auto nodes = runner.exportNodes();
  if (nodes.empty()) return;  // the file of the last run is the better one
  if (nodes.size() > kMaxSavedNodes) nodes.resize(kMaxSavedNodes);
  msgpack::sbuffer packed;
  msgpack::pack(packed, nodes);
  // What is lost is found again: no need to force it to the disk.
  (void)write_atomically(path, {reinterpret_cast<const std::uint8_t*>(packed.data()), packed.size()}, 0600,
                         Durability::kCached);
  remove_other_nodes(path);
}

std::optional<SignalMessage> open_request(SealedRequest sealed, const dht::crypto::PrivateKey& key) {
  try {
    const auto body = key.decrypt(sealed.cypher);
    const msgpack::unpack_limit limit(/*array*/ 64, /*map*/ 64, /*str*/ body.size(), /*bin*/ body.size(), /*ext*/ 0,
                                      /*depth*/ 8);
    const auto unpacked =
        msgpack::unpack(reinterpret_cast<const char*>(body.data()), body.size(), nullptr, nullptr, limit);
    dht::Value plain;
    plain.msgpack_unpack_body(*unpacked);
    if (!plain.isSigned() || plain.recipient != key.getPublicKey().getId() || plain.user_type != kRequestType ||
        plain.data.size() > kMaxRequestBodyBytes) {
      return std::nullopt;
    }
    SignalMessage out{id_of<proto::DeviceId>(plain.owner->getLongId()),
                      {},
                      plain.data,
                      sealed.arrival.at_short_key,
                      sealed.arrival.pair_peer.has_value()};
    if (sealed.arrival.pair_peer && *sealed.arrival.pair_peer != out.signer) return std::nullopt;
    // Throws for keys of more than 2,048 bytes: before the check, which would take minutes with such a one.
    plain.owner->pack(out.signer_public_key);
    if (!plain.checkSignature()) return std::nullopt;
    return out;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void Sealing::run() {
  try {
    const dht::crypto::PublicKey peer(peer_key_der);
    dht::Value plain(dht::ValueType::USER_DATA.id, body, id);
    plain.user_type = kRequestType;
    cypher = plain.encrypt(*key, peer).cypher;
    const bool both = keys == SignalKeys::kBoth;
    if (both || keys == SignalKeys::kLong) at.push_back(request_key(id_of<proto::DeviceId>(peer.getLongId()).hex()));
    if (both || keys == SignalKeys::kShort) at.push_back(request_key(id_of<proto::ShortDeviceId>(peer.getId()).hex()));
  } catch (const std::exception&) {
    at.clear();  // no key, or not one to encrypt to
  }
}

}  // namespace connd::daemon
