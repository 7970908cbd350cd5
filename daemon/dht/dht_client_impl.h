// SPDX-License-Identifier: GPL-3.0-or-later
/// The inside of DhtClient: Impl, on the loop's thread, and Bridge, which OpenDHT's threads call. Private to
/// dht_client.cpp, dht_client_reach.cpp, dht_client_search.cpp and dht_pair_listens.cpp.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include <arpa/inet.h>

#include "daemon/dht/answer_watch.h"
#include "daemon/dht/dht_bootstrap.h"
#include "daemon/dht/dht_client.h"
#include "daemon/dht/dht_node.h"
#include "daemon/dht/dht_setup.h"
#include "daemon/dht/dht_socket.h"
#include "daemon/dht/request_opener.h"
#include "daemon/system/sleep_watch.h"

namespace connd::daemon {

/// Lines of OpenDHT's log on their way to the loop.
inline constexpr unsigned kMaxWaitingLogLines = 1'024;
inline constexpr std::size_t kMaxLogLineBytes = 1'024;

/// What came lately: the same value comes from each node that keeps it, and costs an RSA operation.
class RecentValues {
 public:
  /// False: it is among the last ones already.
  bool add(const dht::InfoHash& hash) {
    if (!set_.insert(hash).second) return false;
    order_.push_back(hash);
    if (order_.size() > kMax) {
      set_.erase(order_.front());
      order_.pop_front();
    }
    return true;
  }
  /// What add() took last comes as if for the first time, should it come again.
  void forget_last() {
    set_.erase(order_.back());
    order_.pop_back();
  }

 private:
  static constexpr std::size_t kMax = 1'024;  // copies follow each other within a second; 100 kB
  std::set<dht::InfoHash> set_;
  std::deque<dht::InfoHash> order_;
};

class DhtClient::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Loop& loop, const DhtConfig& config, DhtHandlers handlers);
  void start(const DhtConfig& config, const DhtBeginning& beginning);
  void find_certificate(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                        proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                        std::function<void(std::optional<proto::CertificateChain>)> done);
  void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                    std::function<void(const std::optional<DhtDevice>&)> found);
  void send_request(proto::Bytes key_der, proto::Bytes body, RequestKeys keys, std::function<void(bool)> done,
                    const std::vector<proto::PairKey>& pair_keys);
  void listen_pairs(const std::vector<proto::PairListen>& wanted);
  void publish(const std::string& name, proto::Bytes data);
  void find_published(const std::string& name, proto::TimePoint deadline,
                      std::function<void(const std::vector<proto::ByteVector>&)> done);
  void network_changed();
  void expect_answer(const proto::DeviceId& peer);
  void network_stirred();
  const DhtStatus& status();
  void shutdown(std::function<void()> done);
  void close();

  /// By its hash: the same comes from each node that keeps it, and from each device that has put it.
  struct FoundRecord {
    dht::InfoHash hash;
    proto::ByteVector data;
  };

  // What the bridge posts.
  void on_status(dht::NodeStatus v4, dht::NodeStatus v6);
  void on_stats(const dht::NodeInfo& info);
  void on_sealed(SealedRequest sealed);
  void on_log(DhtLogLevel level, const std::string& line);
  void on_chains(std::uint64_t lookup, std::vector<dht::Blob> chains);
  void on_lookup_end(std::uint64_t lookup, unsigned key_bit);
  void on_probe(bool at_short_key);
  void on_devices(std::uint64_t search, std::vector<Announced> values);
  void on_device_search_end(std::uint64_t search);
  void on_put_end(std::uint64_t send, bool ok);
  void on_records(std::uint64_t search, std::vector<FoundRecord> records);
  void finish_record_search(std::uint64_t search);
  void on_shutdown();

 private:
  struct Bridge;
  /// At most kMaxLookups searches of a kind at once; others wait for their turn, or their time.
  class Slots {
   public:
    /// False: it waits, in front of the others if `first`.
    bool enter(std::uint64_t id, bool first = false);
    /// It is over. Whose turn it is now, if anybody's.
    std::optional<std::uint64_t> leave(std::uint64_t id);
    [[nodiscard]] const std::set<std::uint64_t>& running() const { return running_; }

   private:
    std::set<std::uint64_t> running_;
    std::deque<std::uint64_t> waiting_;
  };
  /// Values being read on the pool: each is some milliseconds of parsing, and anybody's.
  struct ChainReading {
    proto::DeviceId device;
    std::shared_ptr<std::set<dht::InfoHash>> seen;
    std::vector<dht::Blob> values;
    // The outcome.
    std::vector<CheckedChain> chains{};  ///< of the device's key
    std::size_t read_bytes = 0;          ///< of those that had not come before

    void run();
  };
  struct Lookup {
    proto::DeviceId device;
    std::optional<proto::ShortDeviceId> short_id;
    ChainWanted wanted;
    std::function<void(std::optional<proto::CertificateChain>)> done;
    /// What was looked at: the same comes from each node that keeps it, and in each round. Of the pool's work while
    /// there is any.
    std::shared_ptr<std::set<dht::InfoHash>> seen = std::make_shared<std::set<dht::InfoHash>>();
    std::vector<dht::Blob> waiting{};         ///< to be read
    std::shared_ptr<ChainReading> reading{};  ///< what goes on; second owner: the pool
    std::size_t read_bytes = 0;
    unsigned pending = 0;  ///< one bit a key whose search goes on
    unsigned rounds = 0;   ///< that have found nothing
    bool round_over = true;
    std::unique_ptr<Timer> timer{};
    std::unique_ptr<Timer> pause{};
  };
  struct DeviceSearch {
    proto::AccountId account;
    std::function<void(const std::optional<DhtDevice>&)> found;
    std::set<proto::DeviceId> seen;
    unsigned pending = 0;  ///< searches that go on, and values that are being read
    std::unique_ptr<Timer> timer;
    std::unique_ptr<Timer> pause;
  };
  struct RecordSearch {
    dht::InfoHash key;
    std::function<void(const std::vector<proto::ByteVector>&)> done;
    std::set<dht::InfoHash> seen{};
    std::vector<proto::ByteVector> records{};
    std::unique_ptr<Timer> timer{};
  };
  struct Send {
    std::function<void(bool)> done;
    std::shared_ptr<const Sealing> sealed;  ///< once it is; second owner: the pool, until then
    int pending = 0;
  };
  /// Of sends_, but not begun.
  struct Unsent {
    std::uint64_t id;
    std::shared_ptr<Sealing> job;
  };
  /// Which node of ours something is about: callbacks of one that was taken down come late.
  using Generation = unsigned;

  dht::DhtRunner::Context context(std::unique_ptr<dht::net::DatagramSocket> socket);
  [[nodiscard]] dht::ValueType user_data_type() const;
  void keep(DhtKept kept);
  [[nodiscard]] DhtKept request_listen(const dht::InfoHash& key, const Arrival& arrival) const;
  void unlisten(const dht::InfoHash& key);

  // The node's life and its reach (dht_client_reach.cpp).
  void make_node();
  void begin_node();
  void take_up_pending();
  /// There is a node, and it has somebody to begin with.
  [[nodiscard]] bool can_ask() const { return node_ && !holding_; }
  void look_after();
  void watch_traffic();
  void wake_listens();
  void wake_all();
  void begin_test();
  void look_for_answers();
  void renew();
  void make_node_again();
  void remember_nodes();
  void take_known(std::vector<dht::NodeExport> nodes);
  void search(std::uint64_t lookup, const dht::InfoHash& key, unsigned bit, const dht::ValueType& type,
              dht::Value::Filter filter = {});
  void search_all(std::uint64_t lookup);
  void read_some(std::uint64_t lookup);
  void on_chains_read(std::uint64_t lookup, const std::shared_ptr<ChainReading>& reading);
  void forget_waiting(Lookup& lookup);
  void end_round(std::uint64_t lookup);
  void search_records(std::uint64_t search);
  void finish_lookup(std::uint64_t lookup, std::optional<proto::CertificateChain> chain);
  void search_devices(std::uint64_t search);
  void on_devices_read(std::uint64_t search, const std::vector<DhtDevice>& devices);
  void finish_device_search(std::uint64_t search);
  void on_sealing_done(std::uint64_t send, const std::shared_ptr<const Sealing>& sealed);
  void put_sealed(std::uint64_t send);
  void finish_send(std::uint64_t send, bool ok);
  void begin_send(std::uint64_t id, const std::shared_ptr<Sealing>& job);
  void begin_unsent();
  void on_opened(const std::optional<IncomingRequest>& request);
  void ask_stats();
  void open_port();
  void make_bootstrap(const DhtConfig& config);
  void ask_bootstrap();
  void save();
  static void end_node(DhtNode& node, const std::shared_ptr<Bridge>& bridge, const std::filesystem::path& state_file);
  void end_pending();
  void finish_shutdown();
  template <class F>
  void later(F task);

  Loop& loop_;
  DhtHandlers handlers_;
  DhtConfig config_;  ///< without the keys
  dht::InfoHash node_id_;
  std::array<dht::InfoHash, 2> request_keys_;  ///< of the long id, of the short one
  std::vector<DhtKept> kept_;                  ///< what each node of ours listens at, and puts for good
  std::vector<dht::NodeExport> known_nodes_;   ///< that were good when they were last looked at; at most kMaxSavedNodes
  proto::TimePoint known_at_{};
  std::filesystem::path state_file_;
  const proto::Duration ask_bootstrap_interval_;
  std::unique_ptr<DhtBootstrap> bootstrap_;
  proto::TimePoint ask_bootstrap_at_{};
  std::shared_ptr<DhtPort> port_;  // second owner: the node's socket
  bool holding_ = false;           ///< until an address to begin with is there, the node is asked for nothing
  std::shared_ptr<DhtNode> node_;  ///< null while a new one is made. Second owner: work on the pool that saves or joins
  std::shared_ptr<DhtNode> ending_;  ///< the one before, until it has ended. Second owner: as above
  Generation generation_ = 0;
  Generation begun_ = 0;  ///< which node was given what is kept
  Reachability reach_;
  Reach told_reach_ = Reach::kUnknown;
  unsigned probes_pending_ = 0;                      ///< one bit a key of request_keys_
  std::minstd_rand chance_{std::random_device{}()};  ///< which of a lookup's values is read next
  AnswerWatch answers_;
  std::map<proto::DeviceId, proto::TimePoint> awaited_;  ///< whose answers, and until when; at most kMaxAwaited
  std::shared_ptr<Bridge> bridge_;                       // second owner: OpenDHT, in its callbacks
  // Second owner: work on the pool, which seals several at a time.
  std::shared_ptr<dht::crypto::PrivateKey> key_;
  std::optional<RequestOpener> public_opener_;
  std::optional<RequestOpener> pair_opener_;
  std::map<dht::InfoHash, proto::DeviceId> pair_listens_;  ///< what of kept_ is shared with whom
  DhtStatus status_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Lookup> lookups_;
  Slots lookup_slots_;
  std::map<std::uint64_t, DeviceSearch> device_searches_;
  Slots device_search_slots_;
  std::map<std::uint64_t, RecordSearch> record_searches_;
  std::map<std::uint64_t, Send> sends_;
  std::deque<Unsent> unsent_;
  std::size_t unsent_bytes_ = 0;  ///< of their bodies
  SleepWatch sleep_watch_;
  Timer reach_timer_;
  Timer traffic_timer_;
  Timer answer_timer_;
  Timer stats_timer_;
  Timer save_timer_;
  Timer grace_timer_;
  std::function<void()> shutdown_done_;
  bool shutting_down_ = false;
  bool joining_ = false;
  bool closed_ = false;
};

/// All that a callback of OpenDHT touches. It outlives the client, the loop does not need to: after the join no
/// callback comes, and the client joins before it is gone.
struct DhtClient::Impl::Bridge {
  Bridge(Loop& l, std::weak_ptr<Impl> i) : loop(l), impl(std::move(i)) {}

  Loop& loop;
  const std::weak_ptr<Impl> impl;
  /// At the long key, at the short one, at any of the pairs; for OpenDHT's thread alone.
  std::array<RecentValues, 3> recent_values;
  std::atomic<unsigned> waiting_requests{0};
  std::atomic<unsigned> waiting_pair_requests{0};
  std::atomic<std::size_t> waiting_chain_bytes{0};
  std::atomic<unsigned> waiting_lines{0};
  std::atomic<std::uint64_t> ignored{0};
  std::atomic<std::uint64_t> dropped{0};
  std::atomic<std::uint64_t> dropped_lines{0};
  std::atomic<bool> ending{false};
  std::array<std::atomic<std::uint64_t>, 2> probes{};  ///< what a test put, by key; 0: it came back, or none was put
  std::array<std::atomic<const dht::Value*>, 2> own_probes{};  ///< the very objects, to be told from what comes back
  /// The one before, and the id that it was put with; for OpenDHT's thread alone.
  std::array<std::pair<std::weak_ptr<dht::Value>, dht::Value::Id>, 2> put_probes{};

  template <class F>
  void post(F task) {
    loop.post([weak = impl, task = std::move(task)]() mutable {
      if (const auto self = weak.lock()) task(*self);
    });
  }
  /// What a node that is no more says is of no use.
  template <class F>
  void post_from(Generation node, F task) {
    post([node, task = std::move(task)](Impl& self) mutable {
      if (node == self.generation_) task(self);
    });
  }

  void request(const dht::Value& value, const Arrival& arrival) {
    const bool by_pair = arrival.pair_peer.has_value();
    const auto hash = value.isEncrypted() ? dht::InfoHash::get(value.cypher) : dht::InfoHash::get(value.getToSign());
    RecentValues& recent = recent_values[by_pair ? 2 : arrival.at_short_key ? 1 : 0];
    if (!recent.add(hash)) return;
    if (!value.isEncrypted()) {
      ++ignored;
      return;
    }
    auto& waiting = by_pair ? waiting_pair_requests : waiting_requests;
    if (waiting.fetch_add(1) >= (by_pair ? kMaxWaitingPairRequests : kMaxWaitingRequests)) {
      --waiting;
      ++dropped;
      recent.forget_last();  // its next copy may find room
      return;
    }
    post([sealed = SealedRequest{value.cypher, arrival}](Impl& self) mutable { self.on_sealed(std::move(sealed)); });
  }

  bool requests(const DhtValues& values, bool expired, const Arrival& arrival) {
    if (expired) return true;
    for (const auto& value : values) {
      const bool test = value->user_type == kProbeType && !arrival.pair_peer;
      test ? probe(value, arrival.at_short_key ? 1 : 0) : request(*value, arrival);
    }
    return true;
  }

  /// Anybody can put such a value; what ours says only the nodes that store it know.
  void probe(const std::shared_ptr<dht::Value>& value, std::size_t key) {
    std::uint64_t said = 0;
    if (value->data.size() != sizeof said) return;
    std::memcpy(&said, value->data.data(), sizeof said);
    if (said == 0 || said != probes[key]) return;
    if (value.get() == own_probes[key]) return let_it_come_back(value, key);
    if (!probes[key].compare_exchange_strong(said, 0)) return;
    post([key](Impl& self) { self.on_probe(key == 1); });
  }

  /// Before OpenDHT 2.4 sends what it puts, it keeps it at our own node, and our listens are given that very object.
  /// They do not hear of its id again: what is told them from elsewhere they take for the same. So it goes out with
  /// another one. Its own it has again when the next test comes, for by it OpenDHT forgets it after ten minutes.
  void let_it_come_back(const std::shared_ptr<dht::Value>& value, std::size_t key) {
    auto& [former, id] = put_probes[key];
    if (const auto before = former.lock()) before->id = id;
    former = value;
    id = std::exchange(value->id, random_value_id());
  }

  /// False ends the search: enough was seen.
  bool chains(std::uint64_t lookup, std::atomic<std::size_t>& seen, const DhtValues& values) {
    constexpr std::size_t kLeastBytes = 1'024;
    std::vector<dht::Blob> copies;
    for (const auto& value : values) {
      const std::size_t bytes = value->data.size();
      if (bytes == 0 || bytes > kMaxChainBytes) continue;
      if (seen.fetch_add(std::max(bytes, kLeastBytes)) >= kMaxChainBytesPerKey) break;
      if (waiting_chain_bytes.fetch_add(bytes) + bytes > kMaxWaitingChainBytes) {
        waiting_chain_bytes -= bytes;
        break;
      }
      copies.push_back(value->data);
    }
    post([lookup, copies = std::move(copies)](Impl& self) mutable { self.on_chains(lookup, std::move(copies)); });
    return seen.load() < kMaxChainBytesPerKey;
  }

  /// Values under a 40-digit id.
  bool devices(std::uint64_t search, const dht::InfoHash& key, std::atomic<unsigned>& seen, const DhtValues& values) {
    std::vector<Announced> copies;
    for (const auto& value : values) {
      if (value->data.size() > kMaxChainBytes) continue;
      const bool chain = value->type == dht::CERTIFICATE_TYPE.id;
      // OpenDHT has checked the signature of what is signed.
      if (!chain && !(value->isSigned() && value->owner->getId() == key)) continue;
      if (seen.fetch_add(1) >= kMaxValuesPerKey) break;
      copies.push_back({key, chain, value->data});
    }
    post([search, copies = std::move(copies)](Impl& self) mutable { self.on_devices(search, std::move(copies)); });
    return seen.load() < kMaxValuesPerKey;
  }
  void device_search_end(Generation node, std::uint64_t search) {
    post_from(node, [search](Impl& self) { self.on_device_search_end(search); });
  }

  bool records(std::uint64_t search, std::atomic<std::size_t>& seen, const DhtValues& values) {
    constexpr std::size_t kLeastBytes = 1'024;
    std::vector<FoundRecord> copies;
    for (const auto& value : values) {
      const std::size_t bytes = value->data.size();
      if (bytes == 0 || bytes > kMaxRecordBytes) continue;
      if (seen.fetch_add(std::max(bytes, kLeastBytes)) >= kMaxRecordBytesPerKey) break;
      copies.push_back({dht::InfoHash::get(value->data), value->data});
    }
    post([search, copies = std::move(copies)](Impl& self) mutable { self.on_records(search, std::move(copies)); });
    return seen.load() < kMaxRecordBytesPerKey;
  }
  void record_search_end(Generation node, std::uint64_t search) {
    post_from(node, [search](Impl& self) { self.finish_record_search(search); });
  }

  void lookup_end(Generation node, std::uint64_t lookup, unsigned bit) {
    post_from(node, [lookup, bit](Impl& self) { self.on_lookup_end(lookup, bit); });
  }
  void put_end(Generation node, std::uint64_t send, bool ok) {
    post_from(node, [send, ok](Impl& self) { self.on_put_end(send, ok); });
  }
  void status(Generation node, dht::NodeStatus v4, dht::NodeStatus v6) {
    give_way();  // here for it is the first thing that the node's thread says
    post_from(node, [v4, v6](Impl& self) { self.on_status(v4, v6); });
  }
  void stats(const std::shared_ptr<dht::NodeInfo>& info) {
    if (info) post([info = *info](Impl& self) { self.on_stats(info); });
  }
  void public_addresses(const std::vector<dht::SockAddr>& addresses) {
    std::vector<std::string> texts;
    for (const dht::SockAddr& address : addresses) {
      std::array<char, INET6_ADDRSTRLEN> text{};
      const void* raw = address.getFamily() == AF_INET ? static_cast<const void*>(&address.getIPv4().sin_addr)
                                                       : &address.getIPv6().sin6_addr;
      if (inet_ntop(address.getFamily(), raw, text.data(), text.size()) != nullptr) texts.emplace_back(text.data());
    }
    post([texts = std::move(texts)](Impl& self) { self.status_.seen_at.told(texts); });
  }
  void shut_down() {
    post([](Impl& self) { self.on_shutdown(); });
  }

  void log(DhtLogLevel level, const char* format, va_list arguments) {
    if (waiting_lines.fetch_add(1) >= kMaxWaitingLogLines) {
      --waiting_lines;
      ++dropped_lines;
      return;
    }
    char line[kMaxLogLineBytes];
    std::vsnprintf(line, sizeof line, format, arguments);
    post([this, level, text = std::string(line)](Impl& self) {
      --waiting_lines;
      self.on_log(level, text);
    });
  }

  dht::LogMethod logger(const std::shared_ptr<Bridge>& self, DhtLogLevel level) {
    return dht::LogMethod(
        [self, level](const char* format, va_list arguments) { self->log(level, format, arguments); });
  }
};

/// Runs `task` in a later turn, unless the client is gone by then.
template <class F>
void DhtClient::Impl::later(F task) {
  loop_.post([weak = weak_from_this(), task = std::move(task)] {
    if (const auto self = weak.lock()) task(*self);
  });
}

}  // namespace connd::daemon
