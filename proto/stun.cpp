// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/stun.h"

#include <algorithm>
#include <cassert>
#include <string>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace connd::proto {
namespace {

constexpr std::uint32_t kFingerprintXor = 0x5354554e;
constexpr std::size_t kHmacBytes = 20;
constexpr std::size_t kFingerprintBytes = 4;
constexpr std::size_t kAttributeHeaderBytes = 4;
/// Attributes below this must be understood or the request refused (RFC 8489, 14).
constexpr std::uint16_t kComprehensionOptional = 0x8000;
/// The families of RFC 8489, 14.1.
constexpr std::uint16_t kFamilyIpv4 = 1;
constexpr std::uint16_t kFamilyIpv6 = 2;

using Hmac = std::array<std::uint8_t, kHmacBytes>;

void append_u16(ByteVector& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void append_u32(ByteVector& out, std::uint32_t value) {
  append_u16(out, value >> 16);
  append_u16(out, value & 0xffff);
}

/// RFC 8489, 5: the class's two bits stand between the method's.
std::uint16_t type_of(StunClass kind, StunMethod method) {
  const unsigned m = static_cast<unsigned>(method);
  const unsigned c = static_cast<unsigned>(kind);
  return static_cast<std::uint16_t>((m & 0xf) | ((c & 1) << 4) | ((m & 0x70) << 1) | ((c & 2) << 7) |
                                    ((m & 0xf80) << 2));
}
StunClass class_of(unsigned type) {
  return static_cast<StunClass>(((type >> 4) & 1) | ((type >> 7) & 2));
}
StunMethod method_of(unsigned type) {
  return static_cast<StunMethod>((type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80));
}

/// The CRC-32 of ITU-T V.42, bit by bit: messages are short and rare.
std::uint32_t crc32(Bytes bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

Hmac hmac_sha1(Bytes bytes, std::string_view key) {
  Hmac out{};
  unsigned int size = kHmacBytes;
  HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(), out.data(), &size);
  return out;
}

bool is_understood(std::uint16_t type) {
  if (type >= kComprehensionOptional) return true;
  static constexpr std::array kKnown = {StunAttribute::kUsername,
                                        StunAttribute::kMessageIntegrity,
                                        StunAttribute::kErrorCode,
                                        StunAttribute::kUnknownAttributes,
                                        StunAttribute::kLifetime,
                                        StunAttribute::kXorPeerAddress,
                                        StunAttribute::kRealm,
                                        StunAttribute::kNonce,
                                        StunAttribute::kXorRelayedAddress,
                                        StunAttribute::kRequestedTransport,
                                        StunAttribute::kMessageIntegritySha256,
                                        StunAttribute::kXorMappedAddress,
                                        StunAttribute::kPriority,
                                        StunAttribute::kUseCandidate,
                                        StunAttribute::kConnectionId};
  return std::find(kKnown.begin(), kKnown.end(), static_cast<StunAttribute>(type)) != kKnown.end();
}

bool fingerprint_holds(Bytes message, std::size_t at, Bytes value) {
  // RFC 8489, 14.7: it "MUST be the last attribute in the message".
  if (value.size() != kFingerprintBytes || at + kAttributeHeaderBytes + kFingerprintBytes != message.size()) {
    return false;
  }
  return (crc32(message.first(at)) ^ kFingerprintXor) == ByteReader(value).u32();
}

struct Attribute {
  std::uint16_t type;
  Bytes value;
};
/// The next one, its padding taken off. A failed reader: it is cut.
Attribute take_attribute(ByteReader& reader) {
  Attribute out{reader.u16(), {}};
  const std::size_t size = reader.u16();
  out.value = reader.take(size);
  reader.take((4 - size % 4) % 4);
  return out;
}

}  // namespace

// ---- reading ----

std::optional<StunView> StunView::parse(Bytes message) {
  ByteReader reader(message);
  const unsigned type = reader.u16();
  const std::size_t length = reader.u16();
  const bool has_cookie = reader.u32() == kStunMagicCookie;
  const Bytes transaction = reader.take(12);
  // RFC 8489, 5: "The most significant 2 bits of every STUN message MUST be zeroes."
  if (reader.failed() || !has_cookie || (type & 0xc000) != 0 || length != reader.rest().size()) return std::nullopt;
  if (message.size() > kMaxStunBytes) return std::nullopt;
  StunView out;
  out.message_ = message;
  out.method_ = method_of(type);
  out.class_ = class_of(type);
  std::copy(transaction.begin(), transaction.end(), out.transaction_.begin());
  out.end_ = message.size();
  while (!reader.at_end()) {
    const std::size_t at = message.size() - reader.rest().size();
    const Attribute attribute = take_attribute(reader);
    if (reader.failed()) return std::nullopt;
    const auto kind = static_cast<StunAttribute>(attribute.type);
    if (kind == StunAttribute::kFingerprint && !fingerprint_holds(message, at, attribute.value)) return std::nullopt;
    // RFC 8489, 14.5: what follows MESSAGE-INTEGRITY is ignored, but for the SHA-256 one and FINGERPRINT.
    if (!out.integrity_.empty()) continue;
    if (!is_understood(attribute.type)) out.wants_unknown_ = true;
    if (kind != StunAttribute::kMessageIntegrity) continue;
    if (attribute.value.size() != kHmacBytes) return std::nullopt;
    out.end_ = at;
    out.integrity_ = attribute.value;
  }
  return out;
}

std::optional<Bytes> StunView::attribute(StunAttribute type) const {
  ByteReader reader(message_.first(end_).subspan(kStunHeaderBytes));
  while (!reader.at_end()) {
    const Attribute attribute = take_attribute(reader);
    if (attribute.type == static_cast<std::uint16_t>(type)) return attribute.value;
  }
  return std::nullopt;
}

std::optional<std::string_view> StunView::username() const {
  const auto value = attribute(StunAttribute::kUsername);
  return value ? std::optional(as_text(*value)) : std::nullopt;
}

std::optional<IpEndpoint> StunView::address(StunAttribute type) const {
  const auto value = attribute(type);
  if (!value) return std::nullopt;
  ByteReader reader(*value);
  const std::uint16_t family = reader.u16() & 0xff;
  IpEndpoint out;
  out.port = static_cast<std::uint16_t>(reader.u16() ^ (kStunMagicCookie >> 16));
  out.is_ipv6 = family == kFamilyIpv6;
  const std::size_t size = out.is_ipv6 ? 16 : 4;
  const Bytes masked = reader.take(size);
  if (reader.failed() || !reader.at_end() || (family != kFamilyIpv4 && family != kFamilyIpv6)) return std::nullopt;
  for (std::size_t i = 0; i < size; ++i) out.address[i] = static_cast<std::uint8_t>(masked[i] ^ message_[4 + i]);
  return out;
}

std::optional<unsigned> StunView::error_code() const {
  const auto value = attribute(StunAttribute::kErrorCode);
  if (!value || value->size() < 4) return std::nullopt;
  const unsigned hundreds = (*value)[2] & 7;
  const unsigned rest = (*value)[3];
  if (hundreds < 3 || hundreds > 6 || rest > 99) return std::nullopt;
  return hundreds * 100 + rest;
}

bool StunView::has_integrity(std::string_view key) const {
  if (integrity_.empty()) return false;
  // RFC 8489, 14.5: the length is that of a message which ends with this attribute.
  ByteVector covered(message_.begin(), message_.begin() + static_cast<std::ptrdiff_t>(end_));
  store_u16(covered.data() + 2,
            static_cast<std::uint16_t>(end_ + kAttributeHeaderBytes + kHmacBytes - kStunHeaderBytes));
  const Hmac expected = hmac_sha1(covered, key);
  return CRYPTO_memcmp(expected.data(), integrity_.data(), kHmacBytes) == 0;
}

// ---- writing ----

StunWriter::StunWriter(StunClass kind, StunMethod method, const StunTransaction& transaction) {
  append_u16(out_, type_of(kind, method));
  append_u16(out_, 0);
  append_u32(out_, kStunMagicCookie);
  out_.insert(out_.end(), transaction.begin(), transaction.end());
}

/// The message's length, with one more attribute at its end.
void StunWriter::promise(std::size_t value_bytes) {
  const std::size_t padded = (value_bytes + 3) & ~std::size_t{3};
  const std::size_t length = out_.size() - kStunHeaderBytes + kAttributeHeaderBytes + padded;
  assert(kStunHeaderBytes + length <= kMaxStunBytes);
  store_u16(out_.data() + 2, static_cast<std::uint16_t>(length));
}

StunWriter& StunWriter::add(StunAttribute type, Bytes value) {
  promise(value.size());
  append_u16(out_, static_cast<std::uint16_t>(type));
  append_u16(out_, value.size());
  out_.insert(out_.end(), value.begin(), value.end());
  out_.resize((out_.size() + 3) & ~std::size_t{3});
  return *this;
}

StunWriter& StunWriter::add_u32(StunAttribute type, std::uint32_t value) {
  ByteVector bytes;
  append_u32(bytes, value);
  return add(type, bytes);
}

StunWriter& StunWriter::add_u64(StunAttribute type, std::uint64_t value) {
  ByteVector bytes;
  append_u32(bytes, static_cast<std::uint32_t>(value >> 32));
  append_u32(bytes, static_cast<std::uint32_t>(value));
  return add(type, bytes);
}

StunWriter& StunWriter::add_address(StunAttribute type, const IpEndpoint& endpoint) {
  ByteVector value;
  append_u16(value, endpoint.is_ipv6 ? kFamilyIpv6 : kFamilyIpv4);
  append_u16(value, endpoint.port ^ (kStunMagicCookie >> 16));
  for (std::size_t i = 0; i < (endpoint.is_ipv6 ? 16U : 4U); ++i) {
    value.push_back(static_cast<std::uint8_t>(endpoint.address[i] ^ out_[4 + i]));
  }
  return add(type, value);
}

StunWriter& StunWriter::add_integrity(std::string_view key) {
  promise(kHmacBytes);
  return add(StunAttribute::kMessageIntegrity, hmac_sha1(out_, key));
}

StunWriter& StunWriter::add_fingerprint() {
  promise(kFingerprintBytes);
  return add_u32(StunAttribute::kFingerprint, crc32(out_) ^ kFingerprintXor);
}

// ---- ICE ----

ByteVector as_frame(Bytes message) {
  ByteVector out(kFrameLengthBytes);
  store_u16(out.data(), static_cast<std::uint16_t>(message.size()));
  out.insert(out.end(), message.begin(), message.end());
  return out;
}

std::string check_username(std::string_view their_ufrag, std::string_view own_ufrag) {
  return std::string(their_ufrag) + ':' + std::string(own_ufrag);
}

std::string_view receiver_of_check(std::string_view username) {
  const std::size_t colon = username.find(':');
  return colon == std::string_view::npos ? std::string_view() : username.substr(0, colon);
}

std::optional<ByteVector> stun_binding_response(Bytes request, const IpEndpoint& peer,
                                                std::string_view local_password) {
  const auto view = StunView::parse(request);
  if (!view || !view->is(StunClass::kRequest, StunMethod::kBinding) || view->wants_unknown()) return std::nullopt;
  if (!view->has_integrity(local_password)) return std::nullopt;
  return StunWriter(StunClass::kSuccess, StunMethod::kBinding, view->transaction())
      .add_address(StunAttribute::kXorMappedAddress, peer)
      .add_integrity(local_password)
      .add_fingerprint()
      .take();
}

}  // namespace connd::proto
