// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_requests.h"

#include <spdlog/spdlog.h>

#include "daemon/system/log.h"

namespace connd::daemon {

ConnectionRequests::ConnectionRequests(const ManagerContext& context, const ManagerSettings& settings,
                                       KnownChains& chains, Connector& connector)
    : context_(context),
      chains_(chains),
      connector_(connector),
      gate_(context.connections.loop, context.signalling, context.stores, chains, context.asker,
            context.connections.handles.questions, settings.gate),
      saver_(context.connections.loop, context.stores.requests) {}

void ConnectionRequests::on_request(const SignalMessage& message, proto::ConnectionRequest request) {
  if (stopped_) return;
  const proto::DeviceId device = message.signer;
  const proto::ShortDeviceId short_id = proto::short_device_id_of(message.signer_public_key);
  const Trust trust = context_.stores.trust.of(device, {}, short_id);
  if (trust == Trust::kBanned) return refused(device, proto::Reason::kBanned, "the device is banned");
  // Who is allowed by its account is remembered over a restart too, once its chain is known.
  const bool allowed = chains_.trust_of(device) == Trust::kAllowed;
  if (!context_.stores.requests.first_seen(device, request.id, allowed)) {
    // It comes once per key, and again when the caller thinks that it or the answer was lost.
    if (ConnectAttempt* attempt = connector_.answering(device, request.id)) {
      return connector_.repeat_answer(*attempt, message);
    }
    if (!waits_for_room(device, request.id)) return;
  }
  saver_.on_change();
  const proto::ByteVector chain = std::exchange(request.chain, {});
  gate_.judge(device, short_id, chain,
              [this, message, request = std::move(request)](const RequestGate::Verdict& verdict) {
                if (verdict.reason == proto::Reason::kBusy) return turn_away(message.signer, request.id, verdict.text);
                if (!verdict.accept) return refused(message.signer, verdict.reason, verdict.text);
                if (verdict.trust == Trust::kAllowed) {
                  (void)context_.stores.requests.first_seen(message.signer, request.id, true);
                  saver_.on_change();
                }
                answer(message, request, verdict.trust);
              });
}

void ConnectionRequests::answer(const SignalMessage& message, const proto::ConnectionRequest& request, Trust trust) {
  if (stopped_) return;
  auto remote = proto::IceDescription::parse(request.ice_text);
  if (!remote) return refused(message.signer, proto::Reason::kProtocolError, remote.error().message());
  const auto no_room = connector_.answer(message, request, std::move(*remote), trust);
  if (no_room) turn_away(message.signer, request.id, *no_room);
}

void ConnectionRequests::trust_changed() {
  gate_.trust_changed();
  knocks_.forget([&](const proto::DeviceId& device) { return chains_.trust_of(device) != Trust::kUnknown; });
}

void ConnectionRequests::let_in(const proto::DeviceId& device) {
  knocks_.forget([&](const proto::DeviceId& who) { return who == device; });
}

void ConnectionRequests::stop() {
  stopped_ = true;
  saver_.flush();
  gate_.give_up_all();
}

/// A refusal that is over when there is room: what the caller sends again is judged anew.
void ConnectionRequests::turn_away(const proto::DeviceId& device, std::uint64_t request, std::string_view text) {
  const proto::TimePoint now = context_.connections.loop.now();
  std::erase_if(turned_away_, [now](const auto& entry) { return now - entry.second > kTurnedAwayTime; });
  if (turned_away_.size() >= kMaxTurnedAway) {
    const auto any = std::uniform_int_distribution<std::size_t>(0, turned_away_.size() - 1)(random_);
    turned_away_.erase(std::next(turned_away_.begin(), static_cast<std::ptrdiff_t>(any)));
  }
  turned_away_[{device, request}] = now;
  refused(device, proto::Reason::kBusy, text);
}

/// A moment later only, for a request comes once a key.
bool ConnectionRequests::waits_for_room(const proto::DeviceId& device, std::uint64_t request) {
  const auto it = turned_away_.find({device, request});
  if (it == turned_away_.end()) return false;
  const proto::Duration since = context_.connections.loop.now() - it->second;
  if (since < kTurnedAwayPause) return false;
  turned_away_.erase(it);
  return since <= kTurnedAwayTime;
}

void ConnectionRequests::refused(const proto::DeviceId& device, proto::Reason reason, std::string_view text) {
  // The whole id: it is what `trust allow` takes.
  if (const auto line = refusal_log_.refused(device, reason, context_.connections.loop.now())) {
    spdlog::info("peer={} connection request refused reason={} text={} more={} others={}", device.hex(),
                 proto::reason_name(reason), log_quote(text), line->more, line->others);
  }
  knocks_.refused(device, reason, context_.connections.loop.now());
  ++refused_count_;
  context_.events.publish("request.refused", [&] {
    return nlohmann::json{
        {"peer", device.hex()}, {"reason", std::string(proto::reason_name(reason))}, {"detail", std::string(text)}};
  });
}

}  // namespace connd::daemon
