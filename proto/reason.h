// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The one table of reasons why something ended or was not done. It serves the wire (`code` in refuse, reset and
/// goaway), the local API (`data.reason`), events, logs and the exit codes of jami-connctl.
///
/// Header-only, so that ipc/ and tools/ can use it without linking proto/. Numbers and names are a contract: they are
/// in proto/PROTOCOL.md and ipc/PROTOCOL.md, and are never reused.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace connd::proto {

enum class Reason : std::uint8_t {
  kClosed = 0,  ///< a clean end: nothing went wrong
  kDaemonAbsent = 1,
  kNotFound = 2,
  kNoAnswerOrRefused = 3,
  kIceFailed = 4,
  kDeclined = 5,
  kNoListener = 6,
  kBusy = 7,
  kBanned = 8,
  kNotPermitted = 9,
  kBadCertificate = 10,
  kTimedOut = 11,
  kConnectionLost = 12,
  kReset = 13,
  kStalled = 14,
  kProtocolError = 15,
  kNotReady = 16,
  kResourceLimit = 17,
  kBadName = 18,
  kDuplicate = 19,
  kCancelled = 20,
  kShuttingDown = 21,
  kInvalidArgument = 22,
  kInternal = 23,
  kIdle = 24,
  kNoNetwork = 25,
};

struct ReasonInfo {
  Reason reason;
  std::string_view name;  ///< as the API, events and logs show it
  int exit_code;          ///< of jami-connctl; 0 only for a clean end
  bool retryable;         ///< the same call may succeed later without anyone changing its arguments or the trust list
  std::string_view text;  ///< one clause for people
};

inline constexpr std::array kReasons = {
    ReasonInfo{Reason::kClosed, "closed", 0, false, "it ended cleanly"},
    ReasonInfo{Reason::kDaemonAbsent, "daemon-absent", 3, true, "no jami-connd answers on the control socket"},
    ReasonInfo{Reason::kNotFound, "not-found", 4, true, "no such thing is known"},
    ReasonInfo{Reason::kNoAnswerOrRefused, "no-answer-or-refused", 4, true, "the peer did not answer, or refused"},
    ReasonInfo{Reason::kIceFailed, "ice-failed", 4, true, "no network path to the peer was found"},
    ReasonInfo{Reason::kDeclined, "declined", 5, false, "the peer's application declined"},
    ReasonInfo{Reason::kNoListener, "no-listener", 5, true, "nobody listens for this name"},
    ReasonInfo{Reason::kBusy, "busy", 5, true, "it is taken, or one side has too much to do"},
    ReasonInfo{Reason::kBanned, "banned", 6, false, "one of the two devices has banned the other"},
    ReasonInfo{Reason::kNotPermitted, "not-permitted", 6, false, "this is not permitted"},
    ReasonInfo{Reason::kBadCertificate, "bad-certificate", 6, false,
               "a certificate is not acceptable: the peer's, or this device's to the peer"},
    ReasonInfo{Reason::kTimedOut, "timed-out", 7, true, "it took too long"},
    ReasonInfo{Reason::kConnectionLost, "connection-lost", 8, true, "the connection to the peer was lost"},
    ReasonInfo{Reason::kReset, "reset", 8, true, "the other side aborted"},
    ReasonInfo{Reason::kStalled, "stalled", 8, true, "one side stopped taking data"},
    ReasonInfo{Reason::kProtocolError, "protocol-error", 8, false, "one side broke the protocol"},
    ReasonInfo{Reason::kNotReady, "not-ready", 1, true, "the daemon is not ready yet"},
    ReasonInfo{Reason::kResourceLimit, "resource-limit", 1, true, "a limit is reached"},
    ReasonInfo{Reason::kBadName, "bad-name", 1, false, "a channel name is UTF-8 of at most 65000 bytes"},
    ReasonInfo{Reason::kDuplicate, "duplicate", 5, false, "a unique channel of this name exists"},
    ReasonInfo{Reason::kCancelled, "cancelled", 1, true, "it was cancelled"},
    ReasonInfo{Reason::kShuttingDown, "shutting-down", 8, true, "the daemon is shutting down, here or at the peer"},
    ReasonInfo{Reason::kInvalidArgument, "invalid-argument", 2, false, "an argument is wrong"},
    ReasonInfo{Reason::kInternal, "internal", 1, true, "an internal error; the log says more"},
    ReasonInfo{Reason::kIdle, "idle", 0, true, "it was closed because nobody used it"},
    ReasonInfo{Reason::kNoNetwork, "no-network", 4, true, "this device has no connection to the DHT itself"},
};

constexpr const ReasonInfo& reason_info(Reason reason) {
  return kReasons[static_cast<std::size_t>(reason)];
}
constexpr std::string_view reason_name(Reason reason) {
  return reason_info(reason).name;
}
/// The reason of that name, if it is one of the table's.
constexpr std::optional<Reason> reason_from_name(std::string_view name) {
  for (const ReasonInfo& info : kReasons) {
    if (info.name == name) return info.reason;
  }
  return std::nullopt;
}
/// The reason for a code from the wire. Codes that a newer peer may know and we do not are a plain reset.
constexpr Reason reason_from_code(std::uint64_t code) {
  return code < kReasons.size() ? kReasons[static_cast<std::size_t>(code)].reason : Reason::kReset;
}

namespace detail {
constexpr bool reasons_in_order() {
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    if (static_cast<std::size_t>(kReasons[i].reason) != i) return false;
  }
  return true;
}
}  // namespace detail
static_assert(detail::reasons_in_order(), "kReasons is indexed by Reason");

}  // namespace connd::proto
