// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/open_failure.h"

#include <string>

namespace connd::daemon {
namespace {

using proto::Reason;

/// " (last connected 3 min ago)", where that is known.
std::string last_connected(const std::optional<proto::TimePoint>& when, proto::TimePoint now) {
  if (!when) return {};
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(now - *when).count();
  const std::string age = minutes < 1    ? "less than a minute"
                          : minutes < 60 ? std::to_string(minutes) + " min"
                                         : std::to_string(minutes / 60) + " h";
  return " (last connected " + age + " ago)";
}

OpenError in_its_own_words(Reason reason) {
  return {reason, std::string(proto::reason_info(reason).text)};
}

}  // namespace

Reason whose_fault(Reason reason, bool online) {
  const bool peers = reason == Reason::kNotFound || reason == Reason::kNoAnswerOrRefused;
  return peers && !online ? Reason::kNoNetwork : reason;
}

OpenError silence_of(Reason reason, const KnownOfPeer& known, bool online, proto::TimePoint now) {
  if (const Reason ours = whose_fault(reason, online); ours != reason) return in_its_own_words(ours);
  if (reason == Reason::kNotFound) {
    return {Reason::kNotFound,
            "no certificate of that device is on the DHT: it has not been online for a while, or the id is wrong"};
  }
  if (reason != Reason::kNoAnswerOrRefused) return in_its_own_words(reason);
  switch (known.by) {
    case KnownBy::kStore:
      return {Reason::kNoAnswerOrRefused, "nothing came back; this device has met it before" +
                                              last_connected(known.last_up, now) +
                                              ", and does not know whether it is online now"};
    case KnownBy::kCertificate:
      return {
          Reason::kNoAnswerOrRefused,
          "nothing came back, though its certificate is on the DHT, where it stays a while after a device has gone"};
    case KnownBy::kAnnouncement:
      return {Reason::kNoAnswerOrRefused,
              "nothing came back, though it is announced on the DHT, as it is for a while after it has gone"};
    case KnownBy::kNothing:
      break;
  }
  return in_its_own_words(reason);
}

OpenError nothing_found(bool online) {
  const Reason reason = whose_fault(Reason::kNotFound, online);
  if (reason != Reason::kNotFound) return in_its_own_words(reason);
  return {Reason::kNotFound, "no device of this id, or of this account, is announced"};
}

OpenError timed_out_in(proto::ConnectState state) {
  switch (state) {
    case proto::ConnectState::kGathering:
      return {Reason::kTimedOut, "this device was still collecting its own addresses"};
    case proto::ConnectState::kChecking:
      return {Reason::kTimedOut, "the peer has answered, and no network path to it was found by then"};
    case proto::ConnectState::kHandshaking:
      return {Reason::kTimedOut, "a network path to the peer was found, and TLS was not done by then"};
    default:
      return in_its_own_words(Reason::kTimedOut);
  }
}

}  // namespace connd::daemon
