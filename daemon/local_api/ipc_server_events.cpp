// SPDX-License-Identifier: GPL-3.0-or-later
// Events: from the EventHub, and about channels, to those clients that have subscribed.
#include <algorithm>
#include <chrono>

#include "daemon/local_api/ipc_server.h"

namespace connd::daemon {
namespace {

/// Seconds since 1970, UTC, as people and other machines know it: the loop's clock starts anywhere.
double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string text_of(const ipc::Json& data, const char* name) {
  const auto it = data.find(name);
  return it != data.end() && it->is_string() ? it->get<std::string>() : std::string();
}

/// As sessions write it: JSON without the braces around it, and without the number.
std::string event_text(const std::string& type, const ipc::Json& members, double time) {
  ipc::Json all = members;
  all["type"] = type;
  all["time"] = time;
  const std::string text = all.dump(-1, ' ', false, ipc::Json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace

void IpcServer::on_event(const std::string& type, const ipc::Json& data) {
  if (type == "request.refused") {
    RefusalMeter::Report report{text_of(data, "peer"), text_of(data, "reason"), text_of(data, "detail"), 1};
    return report_refusals(refusals_.refused(std::move(report), context_.loop.now()));
  }
  if (type == "trust.changed") return broadcast(type, data, Audience::kAdmins);
  if (type != "connection.connected") return broadcast(type, data, Audience::kAll);
  if (!has_subscriber()) return;
  // The manager says which, and what only this moment knows; the rest is the list's item.
  ipc::Json members = data;
  if (data.contains("certificate")) members["first"] = true;
  const auto all = connections();
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const auto& c) { return data["connection"] == c.connection; });
  if (it != all.end()) members.update(ipc::write_members(*it));
  broadcast(type, members, Audience::kAll);
}

void IpcServer::broadcast(const std::string& type, const ipc::Json& members, Audience audience) {
  if (!has_subscriber()) return;
  const std::string text = event_text(type, members, wall_clock());
  for (auto& [number, session] : sessions_) {
    if (audience == Audience::kAdmins && !session->admin()) continue;
    session->event(text);
  }
}

void IpcServer::report_refusals(const std::vector<RefusalMeter::Report>& reports) {
  for (const RefusalMeter::Report& report : reports) {
    ipc::Json members = {{"peer", report.peer}, {"reason", report.reason}, {"count", report.count}};
    if (!report.detail.empty()) members["detail"] = report.detail;
    broadcast("request.refused", members, Audience::kAdmins);
  }
  refusal_timer_.arm(refusals_.next_deadline());
}

/// Writing what nobody reads costs as much as all the rest of an open's JSON.
bool IpcServer::has_subscriber() const {
  return std::any_of(sessions_.begin(), sessions_.end(), [](const auto& entry) { return entry.second->subscribed(); });
}

void IpcServer::report_opened(proto::ChannelHandle channel, const OwnedChannel& owned) {
  if (!has_subscriber()) return;
  ipc::ChannelInfo info;
  info.channel = channel;
  info.peer = owned.device.hex();
  info.account = owned.account.hex();
  info.uri = owned.uri;
  info.direction = owned.outgoing ? ipc::Direction::kOutgoing : ipc::Direction::kIncoming;
  const double time = wall_clock();
  const std::string members = event_text("channel.opened", ipc::write_members(info), time);
  if (owned.pid >= 0) {
    info.uid = owned.uid;
    info.pid = static_cast<std::uint64_t>(owned.pid);
  }
  const std::string for_admins = event_text("channel.opened", ipc::write_members(info), time);
  for (auto& [number, session] : sessions_) {
    if (session->admin()) {
      session->event(for_admins);
    } else if (owned.client == number) {
      session->event(members);
    }
  }
}

void IpcServer::report_closed(const ChannelEnd& end, const OwnedChannel& owned) {
  if (!has_subscriber()) return;
  ipc::Json members = {{"channel", end.channel},   {"peer", owned.device.hex()},
                       {"uri", owned.uri},         {"reason", proto::reason_name(end.reason)},
                       {"bytes_in", end.bytes_in}, {"bytes_out", end.bytes_out}};
  if (!end.text.empty()) members["detail"] = end.text;
  const std::string text = event_text("channel.closed", members, wall_clock());
  for (auto& [number, session] : sessions_) {
    if (session->admin() || owned.client == number) session->event(text);
  }
}

}  // namespace connd::daemon
