// SPDX-License-Identifier: GPL-3.0-or-later
/// The inside of DhtClient: the parts, and what goes between them. Private to dht_client.cpp.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/dht/answer_watch.h"
#include "daemon/dht/chain_lookups.h"
#include "daemon/dht/device_searches.h"
#include "daemon/dht/dht_client.h"
#include "daemon/dht/dht_log.h"
#include "daemon/dht/kept_values.h"
#include "daemon/dht/node_life.h"
#include "daemon/dht/reach_probes.h"
#include "daemon/dht/reach_watch.h"
#include "daemon/dht/record_searches.h"
#include "daemon/dht/request_intake.h"
#include "daemon/dht/request_sender.h"

namespace connd::daemon {

/// What comes from OpenDHT's threads outlives the client in copies of DhtPoster and in what has a second owner there.
class DhtClient::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Loop& loop, DhtHandlers handlers);
  void start(const DhtConfig& config, const DhtBeginning& beginning);
  void shutdown(std::function<void()> done);
  void close();

  void network_changed();
  void network_stirred() { reach_->on_sign(); }
  void expect_answer(const proto::DeviceId& peer);
  [[nodiscard]] bool ending() const { return ending_; }
  const DhtStatus& status();

  ChainLookups& chains() { return *chains_; }
  DeviceSearches& devices() { return *devices_; }
  RecordSearches& records() { return *records_; }
  RequestSender& sender() { return *sender_; }
  KeptValues& kept() { return *kept_; }

 private:
  [[nodiscard]] NodeLife::Callbacks node_callbacks();
  [[nodiscard]] ReachWatch::Actions reach_actions();
  void keep_own(const DhtKeys& keys);
  [[nodiscard]] DhtKept request_listen(const dht::InfoHash& key, const Arrival& arrival) const;
  [[nodiscard]] dht::ValueType user_data_type() const;
  void begin_node();
  void wake_all();
  void begin_test();
  void on_probe(std::size_t key);
  void renew();
  void look_for_answers();
  void on_status(dht::NodeStatus v4, dht::NodeStatus v6);
  void ask_stats();
  void on_stats(const dht::NodeInfo& info);
  void end_pending();

  Loop& loop_;
  DhtHandlers handlers_;
  std::array<dht::InfoHash, ReachProbes::kKeys> request_keys_;  ///< of the long id, of the short one
  std::optional<NodeLife> node_;
  std::optional<KeptValues> kept_;
  std::optional<ChainLookups> chains_;
  std::optional<DeviceSearches> devices_;
  std::optional<RecordSearches> records_;
  std::optional<RequestSender> sender_;
  std::optional<RequestIntake> intake_;
  std::optional<ReachWatch> reach_;
  std::shared_ptr<ReachProbes> probes_;  // second owner: OpenDHT, in its callbacks
  unsigned probes_pending_ = 0;          ///< one bit a key of request_keys_
  std::shared_ptr<DhtLog> log_;          // second owner: as above
  AnswerWatch answers_;
  Timer answer_timer_;
  Timer stats_timer_;
  DhtStatus status_;
  bool ending_ = false;
  bool closed_ = false;
};

}  // namespace connd::daemon
