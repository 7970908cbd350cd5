// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/stun.h"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace connd::proto {
namespace {

// RFC 8489, sections 5 and 18.2.
constexpr std::size_t kHeaderBytes = 20;
constexpr std::uint32_t kMagicCookie = 0x2112A442;
constexpr std::uint32_t kFingerprintXor = 0x5354554e;
constexpr std::uint16_t kBindingRequest = 0x0001;
constexpr std::uint16_t kBindingSuccess = 0x0101;
constexpr std::size_t kHmacBytes = 20;
constexpr std::size_t kAttributeHeaderBytes = 4;
// Attributes below this must be understood or the request refused.
constexpr std::uint16_t kComprehensionOptional = 0x8000;

enum Attribute : std::uint16_t {
  kUsername = 0x0006,
  kMessageIntegrity = 0x0008,
  kMessageIntegritySha256 = 0x001C,
  kXorMappedAddress = 0x0020,
  kPriority = 0x0024,      // RFC 8445, 16.1
  kUseCandidate = 0x0025,  // the same
  kFingerprint = 0x8028,
};

using Hmac = std::array<std::uint8_t, kHmacBytes>;

void append_u16(ByteVector& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void append_u32(ByteVector& out, std::uint32_t value) {
  append_u16(out, value >> 16);
  append_u16(out, value & 0xffff);
}

// The CRC-32 of ITU-T V.42, bit by bit: messages are short and rare.
std::uint32_t crc32(Bytes bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

// The head of `message` up to `size` bytes, with a length as if `attribute_bytes` more of value ended the message:
// RFC 8489, 14.5 and 14.7.
ByteVector covered(Bytes message, std::size_t size, std::size_t attribute_bytes) {
  ByteVector out(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
  store_u16(out.data() + 2, static_cast<std::uint16_t>(size + kAttributeHeaderBytes + attribute_bytes - kHeaderBytes));
  return out;
}

Hmac hmac_sha1(Bytes bytes, std::string_view password) {
  Hmac out{};
  unsigned int size = kHmacBytes;
  HMAC(EVP_sha1(), password.data(), static_cast<int>(password.size()), bytes.data(), bytes.size(), out.data(), &size);
  return out;
}

struct Parsed {
  std::uint16_t type = 0;
  std::optional<std::size_t> integrity_at;  // offset of the attribute
  Bytes integrity;
  bool not_understood = false;
};

bool is_understood(std::uint16_t type) {
  return type >= kComprehensionOptional || type == kUsername || type == kMessageIntegrity ||
         type == kMessageIntegritySha256 || type == kXorMappedAddress || type == kPriority || type == kUseCandidate;
}

bool fingerprint_holds(Bytes message, std::size_t at, Bytes value) {
  // RFC 8489, 14.7: it "MUST be the last attribute in the message".
  if (value.size() != 4 || at + kAttributeHeaderBytes + 4 != message.size()) return false;
  return (crc32(message.first(at)) ^ kFingerprintXor) == ByteReader(value).u32();
}

std::optional<Parsed> parse(Bytes message) {
  ByteReader reader(message);
  Parsed out;
  out.type = reader.u16();
  const std::size_t length = reader.u16();
  const bool has_cookie = reader.u32() == kMagicCookie;
  reader.take(12);
  if (reader.failed() || !has_cookie || (out.type & 0xc000) != 0 || length != reader.rest().size()) return std::nullopt;
  while (!reader.at_end()) {
    const std::size_t at = message.size() - reader.rest().size();
    const std::uint16_t type = reader.u16();
    const std::size_t size = reader.u16();
    const Bytes value = reader.take(size);
    reader.take((4 - size % 4) % 4);
    if (reader.failed()) return std::nullopt;
    if (type == kFingerprint && !fingerprint_holds(message, at, value)) return std::nullopt;
    // RFC 8489, 14.5: what follows MESSAGE-INTEGRITY is ignored, but for the SHA-256 one and FINGERPRINT.
    if (out.integrity_at) continue;
    if (!is_understood(type)) out.not_understood = true;
    if (type != kMessageIntegrity) continue;
    if (value.size() != kHmacBytes) return std::nullopt;
    out.integrity_at = at;
    out.integrity = value;
  }
  return out;
}

bool integrity_holds(Bytes message, const Parsed& parsed, std::string_view password) {
  if (!parsed.integrity_at) return false;
  const Hmac expected = hmac_sha1(covered(message, *parsed.integrity_at, kHmacBytes), password);
  return CRYPTO_memcmp(expected.data(), parsed.integrity.data(), kHmacBytes) == 0;
}

// RFC 8489, 14.2: the port is masked with the cookie's high half, the address with cookie and transaction id.
void append_xor_mapped_address(ByteVector& message, const IpEndpoint& peer) {
  const std::size_t size = peer.is_ipv6 ? 16 : 4;
  append_u16(message, kXorMappedAddress);
  append_u16(message, 4 + size);
  append_u16(message, peer.is_ipv6 ? 2 : 1);
  append_u16(message, peer.port ^ (kMagicCookie >> 16));
  for (std::size_t i = 0; i < size; ++i) {
    message.push_back(static_cast<std::uint8_t>(peer.address[i] ^ message[4 + i]));
  }
}

}  // namespace

bool is_well_formed_stun(Bytes message) {
  return parse(message).has_value();
}

bool has_integrity(Bytes message, std::string_view password) {
  const auto parsed = parse(message);
  return parsed && integrity_holds(message, *parsed, password);
}

std::optional<ByteVector> stun_binding_response(Bytes request, const IpEndpoint& peer,
                                                std::string_view local_password) {
  const auto parsed = parse(request);
  if (!parsed || parsed->type != kBindingRequest || parsed->not_understood) return std::nullopt;
  if (!integrity_holds(request, *parsed, local_password)) return std::nullopt;

  ByteVector out;
  append_u16(out, kBindingSuccess);
  append_u16(out, 0);  // set below, each time as the next attribute wants it
  out.insert(out.end(), request.begin() + 4, request.begin() + kHeaderBytes);
  append_xor_mapped_address(out, peer);
  out = covered(out, out.size(), kHmacBytes);
  const Hmac hmac = hmac_sha1(out, local_password);
  append_u16(out, kMessageIntegrity);
  append_u16(out, kHmacBytes);
  out.insert(out.end(), hmac.begin(), hmac.end());
  out = covered(out, out.size(), 4);
  const std::uint32_t fingerprint = crc32(out) ^ kFingerprintXor;
  append_u16(out, kFingerprint);
  append_u16(out, 4);
  append_u32(out, fingerprint);
  return out;
}

}  // namespace connd::proto
