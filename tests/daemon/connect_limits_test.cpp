// SPDX-License-Identifier: GPL-3.0-or-later
// proto/PROTOCOL.md, section 18: the times and bounds of setting connections up are the code's.
#include "daemon/connection/connect_limits.h"

#include <map>

#include "daemon/connection/connection_manager.h"
#include "daemon/dht/answer_watch.h"
#include "daemon/dht/dht_client.h"
#include "daemon/dht/reachability.h"
#include "daemon/ice/nice_candidate.h"
#include "daemon/trust/pair_store.h"
#include "daemon/trust/request_log.h"
#include "proto/candidate.h"
#include "proto/connect.h"
#include "proto/rfc4571.h"
#include "tests/proto/doc_tables.h"

using namespace connd;
using namespace connd::daemon;

namespace {

std::uint64_t ms(proto::Duration time) {
  return static_cast<std::uint64_t>(std::chrono::milliseconds(time).count());
}

const std::map<std::string, std::uint64_t>& code() {
  const proto::ConnectTimes times;
  const ManagerLimits limits;
  static const std::map<std::string, std::uint64_t> all = {
      {"attempt", ms(times.total)},
      {"lookup-pause", ms(times.lookup_pause)},
      {"gathering", ms(times.gather)},
      {"resend", ms(times.resend)},
      {"pair-resend", ms(times.pair_resend)},
      {"pair-resends", proto::ConnectMachine::kPairResends},
      {"first-look", ms(AnswerWatch::kLooks[0])},
      {"second-look", ms(AnswerWatch::kLooks[1])},
      {"third-look", ms(AnswerWatch::kLooks[2])},
      {"later-looks", ms(AnswerWatch::kInterval)},
      {"path", ms(times.check)},
      {"path-jami", ms(times.patient_check)},
      {"handshake", ms(times.handshake)},
      {"handshake-jami", ms(times.patient_handshake)},
      {"first-backoff", ms(kFirstBackoff)},
      {"last-backoff", ms(kFirstBackoff * (1u << kMaxBackoffDoublings))},
      {"no-room-pause", ms(kTurnedAwayPause)},
      {"no-room-time", ms(kTurnedAwayTime)},
      {"drain", ms(GoodBye::kDrainTime)},
      {"idle", ms(limits.idle_time)},
      {"idle-spare", ms(limits.spare_idle_time)},
      {"probe-interval", ms(Reachability::kTestInterval)},
      {"connections-of-a-peer", kMaxConnectionsPerPeer},
      {"setups", limits.max_setups},
      {"setups-of-unknown", limits.max_unknown_setups},
      {"request-body", kMaxRequestBodyBytes},
      {"request-map", proto::ConnectionRequest::kMaxEncodedBytes},
      {"request-id", proto::ConnectionRequest::kMaxId},
      {"connection-type", proto::ConnectionRequest::kMaxConnectionTypeBytes},
      {"ice-text", proto::IceDescription::kMaxTextBytes},
      {"ufrag-least", proto::IceDescription::kMinUfragBytes},
      {"pwd-least", proto::IceDescription::kMinPwdBytes},
      {"credential-most", proto::IceDescription::kMaxCredentialBytes},
      {"candidate-line", proto::Candidate::kMaxLineBytes},
      {"candidates", proto::IceDescription::kMaxCandidates},
      {"doors", proto::IceDescription::kMaxDoors},
      {"doors-tried", kMaxPunchTargets},
      {"door-time", ms(kPunchTime)},
      {"door-check", ms(kPunchCheckTime)},
      {"door-strangers", kMaxDoorStrangers},
      {"door-strangers-of-one", kMaxDoorStrangersOfOne},
      {"door-stranger-time", ms(kDoorStrangerTime)},
      {"mapping-wait", ms(kProbeWait)},
      {"paths", kMaxRacers},
      {"next-path", ms(kRaceDelay)},
      {"connected-to", kMaxConnectable},
      {"ports-of-an-address", kMaxPortsOfAddress},
      {"values-under-a-key", kMaxValuesPerKey},
      {"requests-waiting", kMaxWaitingRequests},
      {"pair-requests-waiting", kMaxWaitingPairRequests},
      {"ids-of-a-signer", SignerIds::kMaxIdsPerSigner},
      {"signers", SignerIds::kMaxSigners},
      {"pair-peers", PairStore::kMaxPeers},
      {"pair-peers-listened", PairStore::kMaxListened},
      {"pair-secrets", PairStore::kMaxSecrets},
      {"pair-neighbour", PairStore::kNeighbourSeconds * 1'000},
      {"certificates", proto::CertificateChain::kMaxCertificates},
      {"chain-bytes", proto::CertificateChain::kMaxDerBytes},
      {"security-bits", proto::kMinSecurityBits},
      {"stun-message", proto::kMaxStunBytes},
      {"early-bytes", kMaxEarlyBytes},
      {"records-of-a-key", proto::TlsSession::kKeyUpdateRecords},
  };
  return all;
}

}  // namespace

TEST_CASE("fault G5: PROTOCOL.md: the times and bounds of setting up, all of them") {
  std::map<std::string, std::uint64_t> stated;
  for (const test::Row& row : test::rows_of("table: setting up")) {
    CHECK(stated.emplace(test::code_in(row[0]), std::stoull(row[1])).second);
  }
  for (const auto& [name, value] : code()) {
    INFO(name);
    CHECK(stated[name] == value);
  }
  CHECK(stated.size() == code().size());
}
