// SPDX-License-Identifier: GPL-3.0-or-later
// What changes for connections that are up: trust and its scopes, revocations, dates.
#include "daemon/connection/connection_manager.h"
#include "daemon/trust/certificate_text.h"

namespace connd::daemon {

void ConnectionManager::lists_changed() {
  revocations_.lists_changed();
  trust_changed();
}

void ConnectionManager::trust_changed() {
  gate_.trust_changed();
  knocks_.forget([&](const proto::DeviceId& device) { return chains_.trust_of(device) != Trust::kUnknown; });
  pair_keys_.prune();
  for (auto& [number, connection] : connections_) {
    const proto::CertificateChain* chain = connection.socket->peer_chain();
    const Trust before = connection.trust;
    connection.trust = context_.stores.trust.of(*chain);
    const TrustScope scope = std::exchange(connection.scope, context_.stores.trust.scope_of(*chain));
    if (chain->has_revoked(context_.stores.is_revoked())) {
      connection.socket->close_now(proto::Reason::kBadCertificate, "the peer's certificate was revoked");
    } else if (chains_.taken_back(*chain)) {
      connection.socket->close_now(proto::Reason::kBadCertificate, kTakenBack);
    } else if (connection.trust == Trust::kBanned) {
      connection.socket->close_now(proto::Reason::kBanned, "this device has banned the peer");
    } else if (before == Trust::kAllowed && connection.trust == Trust::kUnknown) {
      connection.socket->close_now(proto::Reason::kNotPermitted, "this device does not allow the peer any more");
    } else if (connection.trust == Trust::kAllowed && before == Trust::kAllowed) {
      end_uncovered(number, scope, connection.scope);
    }
  }
  std::vector<ConnectionNumber> banned;
  for (auto& [number, attempt] : attempts_) {
    const auto target = targets_.find(number);
    if (trust_of(attempt->id().peer, target != targets_.end() ? target->second.to.public_key : proto::ByteVector()) ==
        Trust::kBanned) {
      banned.push_back(number);
    }
  }
  for (const ConnectionNumber number : banned) {
    // The end of one may have been the end of another.
    if (const auto it = attempts_.find(number); it != attempts_.end()) {
      attempt_failed(*it->second, {proto::Reason::kBanned, "this device has banned the peer", false});
    }
  }
}

/// What the peer opened as one that is trusted for it, and is no more. What a listener took of it for other reasons
/// stays.
void ConnectionManager::end_uncovered(ConnectionNumber connection, const TrustScope& before, const TrustScope& now) {
  std::vector<proto::ChannelHandle> over;
  for (const auto& [handle, record] : channels_) {
    const bool theirs = record.connection == connection && !record.outgoing;
    if (theirs && before.covers(record.uri) && !now.covers(record.uri)) over.push_back(handle);
  }
  constexpr std::string_view kWhy = "the one who opened it is not trusted for this name any more";
  for (const proto::ChannelHandle handle : over) {
    if (channels_.at(handle).accepted) {
      (void)close_channel(handle, proto::Reason::kNotPermitted, kWhy);
    } else {
      refuse_channel(handle, proto::Reason::kNotPermitted, kWhy);
      context_.apps.on_channel_request_cancelled(handle, proto::Reason::kNotPermitted);
    }
  }
}

/// A certificate that is not valid yet was valid when the connection came up: this device's clock was set back, and
/// that is no fault of the peer's.
void ConnectionManager::check_dates() {
  dates_timer_.arm_in(kDatesInterval);
  const std::int64_t now = unix_now();
  for (auto& [number, connection] : connections_) {
    if (now < connection.valid_until_unix) continue;
    connection.socket->close_now(proto::Reason::kBadCertificate,
                                 "the peer's certificate has expired; this device's clock says " + date_text(now));
  }
}

}  // namespace connd::daemon
