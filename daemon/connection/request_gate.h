// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestGate: who may make us run ICE (SPEC section 4.3). The order of checks is by cost: the signer's own entry
/// first, without I/O; then account and CA, by the chain that the request carries, by what trusted accounts have
/// announced, or else by one that is looked up, within limits that strangers cannot pass, and of which nobody is kept
/// out by coming later; then the ICE-request policy. What a chain from the DHT can do here is to let in, and little
/// more (KnownChains): anybody may have made it.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include "daemon/connection/known_chains.h"
#include "daemon/dht/announced_devices.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "daemon/settings/policy.h"
#include "daemon/trust/stores.h"
#include "proto/channel.h"
#include "proto/reason.h"
#include "proto/token_bucket.h"

namespace connd::daemon {

struct GateSettings {
  IceRequestPolicy policy = IceRequestPolicy::kTrusted;
  std::size_t max_lookups = 2;
  unsigned lookups_per_minute = 30;
  proto::Duration lookup_time = std::chrono::seconds(10);
  /// Without an answer from the local client by then: declined.
  proto::Duration ask_time = std::chrono::seconds(10);
  std::size_t max_questions = 64;
  /// Signers of whose key no chain at all was found are not looked up again for this long.
  proto::Duration negative_time = std::chrono::minutes(10);
  std::size_t max_negative = 4'096;
  /// Requests that wait for a look-up: some seconds' worth of what strangers can send, and little memory.
  std::size_t max_waiting_lookups = 64;
  /// As long as a caller's attempt, which has given up then, nearly.
  proto::Duration waiting_time = std::chrono::seconds(20);
};

/// The local client that decides, if one has registered.
class ConnectionAsker {
 public:
  struct Question {
    std::uint64_t number;
    proto::DeviceId device;
    std::optional<proto::AccountId> account;  ///< if it was met before, and its chain is still valid
    proto::TimePoint deadline{};              ///< it is declined then
  };
  /// False: nobody has registered.
  virtual bool ask_connection(const Question& question) = 0;
  /// It need not be answered any more.
  virtual void connection_question_over(std::uint64_t number) = 0;

 protected:
  ~ConnectionAsker() = default;
};

class RequestGate {
 public:
  struct Verdict {
    bool accept;
    Trust trust;
    proto::Reason reason;  ///< of a refusal
    std::string text;
  };
  using Done = std::function<void(const Verdict&)>;

  RequestGate(Loop& loop, Signalling& signalling, Stores& stores, KnownChains& chains, ConnectionAsker& asker,
              proto::HandleSource& questions, const GateSettings& settings);

  /// From now on; questions that are open keep their time.
  void set_settings(const GateSettings& settings);
  /// The trust list has changed.
  void trust_changed() { announced_.refresh(); }
  /// Judges the signer of a request, whose chain may be found by `short_id` alone; `chain` is what the request itself
  /// carries, in DER, or nothing. `done` is called once, at once or later; never after this object's end. Refused with
  /// kBusy it may do better when it comes again: of those that wait for a look-up any one goes for the next.
  void judge(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, proto::Bytes chain, Done done);
  /// The local client's answer. False when the question is over.
  bool answer(std::uint64_t question, bool accept) { return answer(question, accept, "declined here"); }
  /// Open questions are declined, and the client is told that it need not answer.
  void give_up_all();

 private:
  struct Asked {
    proto::DeviceId signer;
    proto::TimePoint deadline;
    Done done;
  };

  struct Waiting {
    proto::DeviceId signer;
    proto::ShortDeviceId short_id;
    proto::TimePoint deadline;
    Done done;
  };

  void judge_read(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id,
                  const std::optional<CheckedChain>& read, const Done& done);
  void judge_unread(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done);
  void look_up(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done);
  void begin_lookup(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done);
  void wait_for_lookup(Waiting waiting);
  void run_waiting();
  void looked_up(const proto::DeviceId& signer, bool allowed, const KnownChains::Seen& seen, const Done& done);
  void by_policy(const proto::DeviceId& signer, std::error_code fault, const Done& done);
  void remember_missing(const proto::DeviceId& signer);
  [[nodiscard]] bool known_missing(const proto::DeviceId& signer);
  bool answer(std::uint64_t question, bool accept, const char* why_not);
  void expire();
  void arm();

  Loop& loop_;
  Signalling& signalling_;
  Stores& stores_;
  KnownChains& chains_;
  ConnectionAsker& asker_;
  proto::HandleSource& questions_;
  GateSettings settings_;
  AnnouncedDevices announced_;
  std::vector<Waiting> waiting_;  ///< in no order
  std::mt19937_64 random_{std::random_device{}()};
  Timer waiting_timer_;
  std::size_t checks_ = 0;                                ///< chains that are on the pool
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< the pool holds a weak_ptr: it may end after us
  std::size_t lookups_ = 0;
  proto::TokenBucket lookup_rate_;
  std::list<std::pair<proto::TimePoint, proto::DeviceId>> missing_;  ///< oldest first
  std::unordered_map<proto::DeviceId, std::list<std::pair<proto::TimePoint, proto::DeviceId>>::iterator> missing_index_;
  std::unordered_map<std::uint64_t, Asked> asked_;
  Timer timer_;
};

}  // namespace connd::daemon
