// SPDX-License-Identifier: GPL-3.0-or-later
/// One code for each way a peer, a link or our own input can fail inside proto/.
///
/// A code's message is one clause that a person can act on; `reason_of` maps it to the project's table of reasons,
/// which is what travels on the wire and in the API.
#pragma once

#include <system_error>

#include "proto/reason.h"

namespace connd::proto {

enum class Errc {
  // Framing (PROTOCOL.md, "Frames").
  kReservedChannel = 1,
  kEmptyControlFrame,
  kBadJamiFrame,
  // Control objects.
  kBadMsgpack,
  kBadControlObject,
  kHelloExpected,
  kHelloRepeated,
  kUnsupportedVersion,
  kRequestBadId,
  kAcceptNameDiffers,
  // Channels and credit.
  kUnknownChannel,
  kCreditOverrun,
  kCreditTooLarge,
  kDataAfterEof,
  kControlFlood,
  kPeerNotAnswering,
  // Our own opens.
  kBadChannelName,
  kNoFreeChannel,
  kTooManyPending,
  kGoingAway,
  // TLS and identity.
  kTlsFailed,
  kTlsClosedEarly,
  kTlsTruncated,
  kTlsNoNativeProtocol,
  kCertificateMissing,
  kCertificateUnreadable,
  kCertificateKeyDiffers,
  kCertificateChainBroken,
  kCertificateNotYetValid,
  kCertificateExpired,
  kCertificateIssuerNotCa,
  kCertificateWrongUsage,
  kCertificateRevoked,
  kKeyUnreadable,
  kKeyMismatch,
  // Signalling.
  kBadConnectionRequest,
  kBadCandidate,
  kBadHex,
  kTooLong,
  // Framing of the ICE stream.
  kStunTooLong,
  // TLS and identity, continued.
  kCertificateSelfSigned,
  kCertificateTooWeak,
  kCertificateRefused,
  kTlsAlert,
  kKeyGenerationFailed,
  // Our own opens, continued.
  kPeerTakesNoMore,
  // TLS and identity, continued.
  kCertificateIssuerMissing,
  kTlsTooOld,
};

const std::error_category& error_category() noexcept;
std::error_code make_error_code(Errc code) noexcept;

/// What the code means to the other side, to API clients and to exit codes. Codes of other categories are `internal`.
Reason reason_of(std::error_code code);

}  // namespace connd::proto

template <>
struct std::is_error_code_enum<connd::proto::Errc> : std::true_type {};
