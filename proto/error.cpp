// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/error.h"

#include <array>
#include <string>

namespace connd::proto {
namespace {

struct Row {
  Errc code;
  Reason reason;
  const char* text;
};

// In the order of the enum; checked below.
constexpr std::array kRows = {
    Row{Errc::kReservedChannel, Reason::kProtocolError, "a frame on the reserved channel 0xffff"},
    Row{Errc::kEmptyControlFrame, Reason::kProtocolError, "an empty frame on the control channel"},
    Row{Errc::kBadJamiFrame, Reason::kProtocolError, "a message that is not [channel, bytes]"},
    Row{Errc::kBadMsgpack, Reason::kProtocolError, "a control frame that is not whole msgpack objects within limits"},
    Row{Errc::kBadControlObject, Reason::kProtocolError, "a control object of the wrong shape"},
    Row{Errc::kHelloExpected, Reason::kProtocolError, "the first control object is not hello"},
    Row{Errc::kHelloRepeated, Reason::kProtocolError, "a second hello"},
    Row{Errc::kUnsupportedVersion, Reason::kProtocolError, "a protocol version that is not supported"},
    Row{Errc::kRequestBadId, Reason::kProtocolError, "a request for a channel id that is not free or not the peer's"},
    Row{Errc::kAcceptNameDiffers, Reason::kProtocolError, "an accept whose name is not the requested one"},
    Row{Errc::kUnknownChannel, Reason::kProtocolError, "data or an end for a channel that is not open"},
    Row{Errc::kCreditOverrun, Reason::kProtocolError, "more data than there was credit for"},
    Row{Errc::kCreditTooLarge, Reason::kProtocolError, "credit of zero, or a sum above 2^31-1"},
    Row{Errc::kDataAfterEof, Reason::kProtocolError, "data after the end of the channel"},
    Row{Errc::kControlFlood, Reason::kProtocolError, "a sustained flood of control objects"},
    Row{Errc::kPeerNotAnswering, Reason::kConnectionLost, "the peer stopped answering"},
    Row{Errc::kBadChannelName, Reason::kBadName, "a channel name is UTF-8 of at most 65000 bytes"},
    Row{Errc::kNoFreeChannel, Reason::kResourceLimit, "the connection has as many channels as it can"},
    Row{Errc::kTooManyPending, Reason::kBusy, "too many opens wait for an answer"},
    Row{Errc::kGoingAway, Reason::kShuttingDown, "the connection is being closed"},
    Row{Errc::kTlsFailed, Reason::kProtocolError, "TLS failed"},
    Row{Errc::kTlsClosedEarly, Reason::kConnectionLost, "the peer closed during the TLS handshake"},
    Row{Errc::kTlsTruncated, Reason::kConnectionLost, "the connection ended without TLS close_notify"},
    Row{Errc::kTlsNoNativeProtocol, Reason::kProtocolError,
        "the peer is a jami-connd, and TLS did not agree on its protocol (ALPN)"},
    Row{Errc::kCertificateMissing, Reason::kBadCertificate, "no certificate"},
    Row{Errc::kCertificateUnreadable, Reason::kBadCertificate, "a certificate that cannot be read"},
    Row{Errc::kCertificateKeyDiffers, Reason::kBadCertificate, "a certificate whose key is not the expected device's"},
    Row{Errc::kCertificateChainBroken, Reason::kBadCertificate,
        "a chain in which one certificate is not signed by the next"},
    Row{Errc::kCertificateNotYetValid, Reason::kBadCertificate, "a certificate that is not yet valid"},
    Row{Errc::kCertificateExpired, Reason::kBadCertificate, "a certificate that has expired"},
    Row{Errc::kCertificateIssuerNotCa, Reason::kBadCertificate, "an issuer that is not a CA"},
    Row{Errc::kCertificateWrongUsage, Reason::kBadCertificate, "a certificate whose key usage forbids this"},
    Row{Errc::kCertificateRevoked, Reason::kBadCertificate, "a certificate that was revoked"},
    Row{Errc::kKeyUnreadable, Reason::kInternal, "a private key that cannot be read"},
    Row{Errc::kKeyMismatch, Reason::kInternal, "a private key that does not belong to the certificate"},
    Row{Errc::kBadConnectionRequest, Reason::kProtocolError, "a malformed connection request"},
    Row{Errc::kBadCandidate, Reason::kProtocolError, "a malformed ICE candidate"},
    Row{Errc::kBadHex, Reason::kInvalidArgument, "not the expected number of hex digits"},
    Row{Errc::kTooLong, Reason::kResourceLimit, "longer than its stated bound"},
    Row{Errc::kStunTooLong, Reason::kProtocolError, "a STUN message longer than any real one"},
    Row{Errc::kCertificateSelfSigned, Reason::kBadCertificate, "a device certificate that nobody but itself signed"},
    Row{Errc::kCertificateTooWeak, Reason::kBadCertificate, "a key or signature of less than 112 bits of security"},
    Row{Errc::kCertificateRefused, Reason::kBadCertificate, "the peer refused this device's certificate"},
    Row{Errc::kTlsAlert, Reason::kProtocolError, "the peer ended TLS with an alert"},
    Row{Errc::kKeyGenerationFailed, Reason::kInternal, "keys or certificates could not be made"},
    Row{Errc::kPeerTakesNoMore, Reason::kResourceLimit, "the peer takes no more channels from this device for now"},
    Row{Errc::kCertificateIssuerMissing, Reason::kBadCertificate,
        "a chain that ends too early: the certificate of its account, or CA, is missing"},
    Row{Errc::kTlsTooOld, Reason::kProtocolError, "the peer speaks too old a version of TLS"},
};

constexpr bool rows_in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].code) != i + 1) return false;
  }
  return true;
}
static_assert(rows_in_order(), "kRows is indexed by Errc - 1");

const Row* row_of(int value) {
  const auto index = static_cast<std::size_t>(value) - 1;
  return index < kRows.size() ? &kRows[index] : nullptr;
}

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "connd"; }
  std::string message(int value) const override {
    const Row* row = row_of(value);
    return row != nullptr ? row->text : "unknown error";
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

std::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

Reason reason_of(std::error_code code) {
  if (code.category() != error_category()) return Reason::kInternal;
  const Row* row = row_of(code.value());
  return row != nullptr ? row->reason : Reason::kInternal;
}

}  // namespace connd::proto
