// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/doctor.h"

#include <utility>

#include "tools/output.h"

namespace connd::tools {
namespace {

using ipc::Reason;

Finding no_daemon(const ipc::Error& error, const std::string& path) {
  switch (error.reason) {
    case Reason::kDaemonAbsent:
      return {"daemon", Verdict::kBad, "nobody answers at " + path,
              "start it: systemctl start jami-connd, or as yourself: jami-connd"};
    case Reason::kNotPermitted:
      return {"daemon", Verdict::kBad, "this user may not use " + path,
              "join the group that may: adduser USER jami-connd, then log in anew"};
    default:
      return {"daemon", Verdict::kBad, error.message, "see its log: journalctl -u jami-connd"};
  }
}

Finding judge_daemon(const ipc::DaemonStatus& status, const std::string& tool_version) {
  const std::string text = "version " + status.version + ", up " + human_age(status.uptime_s);
  if (status.version != tool_version) {
    return {"daemon", Verdict::kWarning, text + "; this program is version " + tool_version,
            "restart the daemon after an upgrade: systemctl restart jami-connd"};
  }
  return {"daemon", Verdict::kGood, text, {}};
}

Finding judge_identity(const ipc::DaemonStatus& status) {
  if (!status.device) {
    return {"identity", Verdict::kNotKnown, "its keys are still being made", "wait some seconds: jami-connctl id"};
  }
  return {"identity", Verdict::kGood, "device " + *status.device, {}};
}

Finding judge_clock(const std::optional<bool>& synchronized) {
  if (!synchronized) return {"clock", Verdict::kNotKnown, "the kernel does not say whether it is set", {}};
  if (*synchronized) return {"clock", Verdict::kGood, "kept by a time service", {}};
  return {"clock", Verdict::kWarning, "no time service keeps it; certificates and what the DHT stores have dates",
          "install one: apt install systemd-timesyncd"};
}

/// Everything that has to be known of the network, by the DHT.
Finding judge_dht(const ipc::DhtStatus& dht) {
  const std::string port = "UDP port " + std::to_string(dht.port);
  switch (dht.state) {
    case ipc::DhtState::kConnected:
      return {"dht", Verdict::kGood, std::to_string(dht.nodes) + " nodes, from " + port, {}};
    case ipc::DhtState::kConnecting:
      return {"dht", Verdict::kNotKnown, "no node has answered yet; from " + port, "ask again in some seconds"};
    case ipc::DhtState::kDisconnected:
      break;
  }
  if (dht.bootstrap.empty() && !dht.lan_discovery) {
    return {"dht", Verdict::kBad, "there is nobody to ask: no bootstrap node, and LAN discovery is off",
            "name a node with --bootstrap HOST"};
  }
  return {"dht", Verdict::kBad, "no node answers; from " + port,
          "see that the machine is on the network, and that its router and firewall let UDP out"};
}

/// Asked of others: whether what is put at this device's place arrives here.
Finding judge_reachable(const ipc::DhtStatus& dht) {
  switch (dht.reachable) {
    case ipc::Reachable::kYes:
      return {"requests", Verdict::kGood, "what peers ask arrives here", {}};
    case ipc::Reachable::kNo:
      return {"requests", Verdict::kBad, "what peers ask has not arrived for " + human_age(dht.reachable_for_s),
              "it is tried again by itself; if it stays so, a firewall stops UDP from outside"};
    case ipc::Reachable::kUnknown:
      break;
  }
  return {"requests", Verdict::kNotKnown, "it was not tested yet whether what peers ask arrives", {}};
}

Finding judge_port(const ipc::DaemonStatus& status) {
  const std::string port = "TCP port " + std::to_string(status.port);
  if (status.public_addresses.empty()) {
    return {"port", Verdict::kNotKnown, port + "; nobody has told how it is seen from outside",
            "name a server that tells: --stun HOST:PORT; or open the port in the firewall"};
  }
  std::string seen;
  for (const std::string& address : status.public_addresses) seen += (seen.empty() ? "" : ", ") + address;
  return {"port", Verdict::kGood, port + ", seen from outside as " + seen, {}};
}

Finding judge_trust(std::size_t allowed, ipc::IceRequestPolicy unknown_peers) {
  if (allowed > 0) return {"trust", Verdict::kGood, std::to_string(allowed) + " allowed", {}};
  if (unknown_peers == ipc::IceRequestPolicy::kAnyone) return {"trust", Verdict::kGood, "anybody may connect", {}};
  return {"trust", Verdict::kWarning, "nobody is allowed to connect", "let somebody in: jami-connctl trust allow PEER"};
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "good";
    case Verdict::kNotKnown:
      return "not known";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kBad:
      break;
  }
  return "bad";
}

std::vector<Finding> diagnose(const Symptoms& symptoms) {
  std::vector<Finding> findings;
  if (!symptoms.status) {
    findings.push_back(no_daemon(symptoms.status.error(), symptoms.socket_path));
    findings.push_back(judge_clock(symptoms.clock_synchronized));
    return findings;
  }
  const ipc::DaemonStatus& status = *symptoms.status;
  findings.push_back(judge_daemon(status, symptoms.tool_version));
  findings.push_back(judge_identity(status));
  findings.push_back(judge_clock(symptoms.clock_synchronized));
  findings.push_back(judge_dht(status.dht));
  if (status.dht.state == ipc::DhtState::kConnected) findings.push_back(judge_reachable(status.dht));
  if (status.port != 0) findings.push_back(judge_port(status));
  if (symptoms.allowed) findings.push_back(judge_trust(*symptoms.allowed, status.ice_request));
  for (const std::string& problem : status.problems) findings.push_back({"problem", Verdict::kBad, problem, {}});
  return findings;
}

}  // namespace connd::tools
