// SPDX-License-Identifier: GPL-3.0-or-later
/// doctor: which verdict follows from what was seen. The verb itself is run by the e2e tests.
#include "tools/doctor.h"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::tools;

namespace {

/// Of a daemon that is well.
Symptoms healthy() {
  ipc::DaemonStatus status;
  status.version = "1.2.3";
  status.state = ipc::DaemonState::kReady;
  status.device = std::string(64, 'a');
  status.dht.state = ipc::DhtState::kConnected;
  status.dht.port = 4222;
  status.dht.nodes = 7;
  status.dht.reachable = ipc::Reachable::kYes;
  status.port = 5000;
  status.public_addresses = {"203.0.113.5:5000"};
  Symptoms symptoms;
  symptoms.tool_version = "1.2.3";
  symptoms.status = status;
  symptoms.socket_path = "/run/here";
  symptoms.clock_synchronized = true;
  symptoms.allowed = 2;
  return symptoms;
}

/// The one about `check`, which must be there.
Finding about(const Symptoms& symptoms, const std::string& check) {
  const auto findings = diagnose(symptoms);
  const auto found = std::ranges::find(findings, check, &Finding::check);
  REQUIRE(found != findings.end());
  return *found;
}

/// What is wrong is told with what to do.
void check_told(const Finding& finding, Verdict verdict, const std::string& in_text, const std::string& in_advice) {
  INFO(finding.text << " -> " << finding.advice);
  CHECK(finding.verdict == verdict);
  CHECK(finding.text.find(in_text) != std::string::npos);
  CHECK(finding.advice.find(in_advice) != std::string::npos);
}

}  // namespace

TEST_CASE("of a daemon that is well, all is good, and nothing is to do") {
  for (const Finding& finding : diagnose(healthy())) {
    INFO(finding.check << ": " << finding.text);
    CHECK(finding.verdict == Verdict::kGood);
    CHECK(finding.advice.empty());
  }
  CHECK(diagnose(healthy()).size() == 7);
}

TEST_CASE("without a daemon, why there is none, and what the machine itself tells") {
  Symptoms symptoms = healthy();
  symptoms.status = ipc::make_error(ipc::Reason::kDaemonAbsent);
  check_told(about(symptoms, "daemon"), Verdict::kBad, "/run/here", "systemctl start");
  CHECK(diagnose(symptoms).size() == 2);
  symptoms.status = ipc::make_error(ipc::Reason::kNotPermitted);
  check_told(about(symptoms, "daemon"), Verdict::kBad, "may not use /run/here", "adduser");
  symptoms.status = ipc::make_error(ipc::Reason::kTimedOut, "it did not answer");
  check_told(about(symptoms, "daemon"), Verdict::kBad, "it did not answer", "journalctl");
}

TEST_CASE("versions, keys and the clock") {
  Symptoms symptoms = healthy();
  symptoms.tool_version = "1.3.0";
  check_told(about(symptoms, "daemon"), Verdict::kWarning, "1.2.3", "restart");
  symptoms.status->device.reset();
  check_told(about(symptoms, "identity"), Verdict::kNotKnown, "being made", "wait");
  symptoms.clock_synchronized = false;
  check_told(about(symptoms, "clock"), Verdict::kWarning, "no time service", "timesyncd");
  symptoms.clock_synchronized.reset();
  check_told(about(symptoms, "clock"), Verdict::kNotKnown, "does not say", "");
}

TEST_CASE("the network: nobody to ask, nobody answers, and answers that do not arrive are three things") {
  Symptoms symptoms = healthy();
  ipc::DhtStatus& dht = symptoms.status->dht;
  dht.reachable = ipc::Reachable::kNo;
  check_told(about(symptoms, "requests"), Verdict::kBad, "has not arrived", "firewall");
  dht.reachable = ipc::Reachable::kUnknown;
  check_told(about(symptoms, "requests"), Verdict::kNotKnown, "not tested", "");
  dht.state = ipc::DhtState::kConnecting;
  check_told(about(symptoms, "dht"), Verdict::kNotKnown, "no node has answered yet", "again");
  dht.state = ipc::DhtState::kDisconnected;
  check_told(about(symptoms, "dht"), Verdict::kBad, "no node answers", "UDP");
  dht.lan_discovery = false;
  check_told(about(symptoms, "dht"), Verdict::kBad, "nobody to ask", "--bootstrap");
  const auto findings = diagnose(symptoms);
  CHECK(std::ranges::none_of(findings, [](const Finding& finding) { return finding.check == "requests"; }));
}

TEST_CASE("the port, and what the outside sees of it") {
  Symptoms symptoms = healthy();
  check_told(about(symptoms, "port"), Verdict::kGood, "TCP port 5000, seen from outside as 203.0.113.5:5000", "");
  symptoms.status->public_addresses.clear();
  check_told(about(symptoms, "port"), Verdict::kNotKnown, "TCP port 5000", "--stun");
  symptoms.status->port = 0;  // an earlier daemon
  const auto findings = diagnose(symptoms);
  CHECK(std::ranges::none_of(findings, [](const Finding& finding) { return finding.check == "port"; }));
}

TEST_CASE("trust, where it may be known; and what the daemon itself finds wrong") {
  Symptoms symptoms = healthy();
  symptoms.allowed = 0;
  check_told(about(symptoms, "trust"), Verdict::kWarning, "nobody is allowed", "trust allow");
  symptoms.status->ice_request = ipc::IceRequestPolicy::kAnyone;
  check_told(about(symptoms, "trust"), Verdict::kGood, "anybody", "");
  symptoms.allowed.reset();
  const auto findings = diagnose(symptoms);
  CHECK(std::ranges::none_of(findings, [](const Finding& finding) { return finding.check == "trust"; }));
  symptoms.status->problems = {"the disk is full"};
  check_told(about(symptoms, "problem"), Verdict::kBad, "the disk is full", "");
}
