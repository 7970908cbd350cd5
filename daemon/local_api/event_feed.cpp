// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/event_feed.h"

#include <chrono>

#include "daemon/local_api/api_views.h"

namespace connd::daemon {
namespace {

using Json = nlohmann::json;

/// Seconds since 1970, UTC, as people and other machines know it: the loop's clock starts anywhere.
double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string text_of(const Json& data, const char* name) {
  const auto it = data.find(name);
  return it != data.end() && it->is_string() ? it->get<std::string>() : std::string();
}

/// As subscribers write it: JSON without the braces around it, and without the number.
std::string event_text(const std::string& type, const Json& members, double time) {
  Json all = members;
  all["type"] = type;
  all["time"] = time;
  const std::string text = all.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace

EventFeed::EventFeed(Loop& loop, EventHub& hub, const Stores& stores)
    : loop_(loop), hub_(hub), stores_(stores), refusal_timer_(loop, [this] { report(refusals_.due(loop_.now())); }) {}

EventFeed::~EventFeed() {
  hub_.set_sink({});
}

void EventFeed::subscribe(Subscriber& subscriber) {
  subscribers_.emplace(subscriber.number(), &subscriber);
  hub_.set_sink([this](const std::string& type, const Json& data) { on_event(type, data); });
}

void EventFeed::unsubscribe(ClientNumber subscriber) {
  subscribers_.erase(subscriber);
  if (subscribers_.empty()) hub_.set_sink({});
}

void EventFeed::on_event(const std::string& type, const Json& data) {
  if (type == "request.refused") return on_refused(data);
  if (type == "trust.changed") return broadcast(type, data, Audience::kAdmins);
  broadcast(type, type == "connection.connected" ? connected(data) : data, Audience::kAll);
}

/// The manager says which connection, and what only this moment knows; the rest is the list's item.
Json EventFeed::connected(const Json& data) const {
  Json members = data;
  if (data.contains("certificate")) members["first"] = true;
  const auto number = data.find("connection");
  if (manager_ == nullptr || number == data.end()) return members;
  manager_->see_connection(number->get<ConnectionNumber>(), [&](const ConnectionView& view) {
    members.update(ipc::write_members(connection_info(view, stores_, loop_.now())));
  });
  return members;
}

void EventFeed::on_refused(const Json& data) {
  RefusalMeter::Report refusal{text_of(data, "peer"), text_of(data, "reason"), text_of(data, "detail"), 1};
  report(refusals_.refused(std::move(refusal), loop_.now()));
}

void EventFeed::report(const std::vector<RefusalMeter::Report>& reports) {
  for (const RefusalMeter::Report& report : reports) {
    Json members = {{"peer", report.peer}, {"reason", report.reason}, {"count", report.count}};
    if (!report.detail.empty()) members["detail"] = report.detail;
    broadcast("request.refused", members, Audience::kAdmins);
  }
  refusal_timer_.arm(refusals_.next_deadline());
}

void EventFeed::broadcast(const std::string& type, const Json& members, Audience audience) {
  if (subscribers_.empty()) return;
  const std::string text = event_text(type, members, wall_clock());
  for (auto& [number, subscriber] : subscribers_) {
    if (audience == Audience::kAll || subscriber->admin()) subscriber->event(text);
  }
}

void EventFeed::channel_opened(proto::ChannelHandle channel, const OwnedChannel& owned) {
  if (subscribers_.empty()) return;
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
  for (auto& [number, subscriber] : subscribers_) {
    if (subscriber->admin()) {
      subscriber->event(for_admins);
    } else if (owned.client == number) {
      subscriber->event(members);
    }
  }
}

void EventFeed::channel_closed(const ChannelEnd& end, const OwnedChannel& owned) {
  if (subscribers_.empty()) return;
  Json members = {{"channel", end.channel},   {"peer", owned.device.hex()},
                  {"uri", owned.uri},         {"reason", proto::reason_name(end.reason)},
                  {"bytes_in", end.bytes_in}, {"bytes_out", end.bytes_out}};
  if (!end.text.empty()) members["detail"] = end.text;
  const std::string text = event_text("channel.closed", members, wall_clock());
  for (auto& [number, subscriber] : subscribers_) {
    if (subscriber->admin() || owned.client == number) subscriber->event(text);
  }
}

}  // namespace connd::daemon
