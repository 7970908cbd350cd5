// SPDX-License-Identifier: GPL-3.0-or-later
/// STUN messages (RFC 8489): the one reader and the one writer of them. ICE's checks (RFC 8445), questions for an
/// address over TCP, and TURN's allocations over TCP (RFC 8656, RFC 6062) are all made of these.
///
/// Nothing here remembers anything: who sends what, and what an answer belongs to, is the caller's.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "proto/bytes.h"

namespace connd::proto {

/// RFC 8489, section 5.
inline constexpr std::size_t kStunHeaderBytes = 20;
inline constexpr std::uint32_t kStunMagicCookie = 0x2112A442;
/// More than an Ethernet frame is no real message; ICE's are below 200 bytes, TURN's below 600.
inline constexpr std::size_t kMaxStunBytes = 2048;

/// RFC 8489, 18.2; RFC 8656, 17; RFC 6062, 6.1.
enum class StunMethod : std::uint16_t {
  kBinding = 0x001,
  kAllocate = 0x003,
  kRefresh = 0x004,
  kCreatePermission = 0x008,
  kConnect = 0x00A,
  kConnectionBind = 0x00B,
  kConnectionAttempt = 0x00C,
};
enum class StunClass : std::uint8_t { kRequest, kIndication, kSuccess, kError };

/// RFC 8489, 18.3; RFC 8445, 16.1; RFC 8656, 18; RFC 6062, 6.2.
enum class StunAttribute : std::uint16_t {
  kUsername = 0x0006,
  kMessageIntegrity = 0x0008,
  kErrorCode = 0x0009,
  kUnknownAttributes = 0x000A,
  kLifetime = 0x000D,
  kXorPeerAddress = 0x0012,
  kRealm = 0x0014,
  kNonce = 0x0015,
  kXorRelayedAddress = 0x0016,
  kRequestedTransport = 0x0019,
  kMessageIntegritySha256 = 0x001C,
  kXorMappedAddress = 0x0020,
  kPriority = 0x0024,
  kUseCandidate = 0x0025,
  kConnectionId = 0x002A,
  kSoftware = 0x8022,
  kFingerprint = 0x8028,
  kIceControlled = 0x8029,
  kIceControlling = 0x802A,
};

/// An IP address and port. IPv4 takes the first four bytes.
struct IpEndpoint {
  std::array<std::uint8_t, 16> address{};
  bool is_ipv6 = false;
  std::uint16_t port = 0;

  friend auto operator<=>(const IpEndpoint&, const IpEndpoint&) = default;
};

using StunTransaction = std::array<std::uint8_t, 12>;

/// A message that is read. It points into the bytes that it was made from.
class StunView {
 public:
  /// Nothing unless `message` is one whole STUN message: cookie, length, attributes that fill it exactly, and a
  /// FINGERPRINT that holds where there is one (RFC 8489, sections 5, 14 and 14.7).
  static std::optional<StunView> parse(Bytes message);

  [[nodiscard]] StunMethod method() const { return method_; }
  [[nodiscard]] StunClass kind() const { return class_; }
  [[nodiscard]] bool is(StunClass kind, StunMethod method) const { return kind == class_ && method == method_; }
  [[nodiscard]] const StunTransaction& transaction() const { return transaction_; }
  /// The value of the first such attribute. What follows MESSAGE-INTEGRITY is passed over (RFC 8489, 14.5).
  [[nodiscard]] std::optional<Bytes> attribute(StunAttribute type) const;
  [[nodiscard]] bool has(StunAttribute type) const { return attribute(type).has_value(); }
  [[nodiscard]] std::optional<std::string_view> username() const;
  /// Of an XOR-MAPPED-ADDRESS or its kin (RFC 8489, 14.2). Nothing when it is missing or malformed.
  [[nodiscard]] std::optional<IpEndpoint> address(StunAttribute type) const;
  /// Of ERROR-CODE (RFC 8489, 14.8): 300 to 699.
  [[nodiscard]] std::optional<unsigned> error_code() const;
  /// An attribute must be understood and is not known to this file: a request with one is not to be carried out.
  [[nodiscard]] bool wants_unknown() const { return wants_unknown_; }
  /// Its MESSAGE-INTEGRITY (HMAC-SHA1) is that of `key`: the short-term credential's password, or the long-term one's
  /// MD5 (RFC 8489, sections 9.1.1, 9.2.2 and 14.5).
  [[nodiscard]] bool has_integrity(std::string_view key) const;

 private:
  StunView() = default;

  Bytes message_;
  StunMethod method_{};
  StunClass class_{};
  StunTransaction transaction_{};
  std::size_t end_ = 0;  ///< of the attributes that count: where MESSAGE-INTEGRITY begins, or the message ends
  Bytes integrity_;      ///< empty: there is none
  bool wants_unknown_ = false;
};

/// A message that is written: attributes in the order of the calls, then finish().
class StunWriter {
 public:
  StunWriter(StunClass kind, StunMethod method, const StunTransaction& transaction);

  StunWriter& add(StunAttribute type, Bytes value);
  StunWriter& add(StunAttribute type, std::string_view value) { return add(type, as_bytes(value)); }
  StunWriter& add_u32(StunAttribute type, std::uint32_t value);
  StunWriter& add_u64(StunAttribute type, std::uint64_t value);
  StunWriter& add_flag(StunAttribute type) { return add(type, Bytes{}); }
  /// Masked as RFC 8489, 14.2 says.
  StunWriter& add_address(StunAttribute type, const IpEndpoint& endpoint);
  /// MESSAGE-INTEGRITY by `key`, as StunView::has_integrity.
  StunWriter& add_integrity(std::string_view key);
  /// The last attribute.
  StunWriter& add_fingerprint();
  [[nodiscard]] ByteVector take() { return std::move(out_); }

 private:
  void promise(std::size_t value_bytes);

  ByteVector out_;
};

/// RFC 4571: the length in front of each frame of an ICE TCP connection.
inline constexpr std::size_t kFrameLengthBytes = 2;
/// The message as such a frame.
ByteVector as_frame(Bytes message);

/// The USERNAME of a check that is sent to who has `their_ufrag` (RFC 8445, 7.2.2).
std::string check_username(std::string_view their_ufrag, std::string_view own_ufrag);
/// The receiver's ufrag, of such a USERNAME; empty where it is none.
std::string_view receiver_of_check(std::string_view username);

/// The success response to a binding request that came from `peer` and was protected with `local_password`:
/// XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT. Nothing for all else: other messages, a wrong password, unknown
/// attributes that would have to be understood.
std::optional<ByteVector> stun_binding_response(Bytes request, const IpEndpoint& peer, std::string_view local_password);

}  // namespace connd::proto
