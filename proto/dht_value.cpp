// SPDX-License-Identifier: GPL-3.0-or-later
// Values, and the public keys in them.
#include <array>
#include <optional>

#include "proto/dht_members.h"
#include "proto/dht_msgpack.h"
#include "proto/dht_walker.h"

namespace connd::proto {
namespace {

using Type = MsgpackItem::Type;

// ---- DER, as much as a SubjectPublicKeyInfo needs (RFC 5280, 4.1; RFC 8017, A.1.1) ----

constexpr std::uint8_t kDerInteger = 0x02;
constexpr std::uint8_t kDerBitString = 0x03;
constexpr std::uint8_t kDerSequence = 0x30;
constexpr std::array<std::uint8_t, 11> kOidRsa = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};

/// The content of the next element of this tag; nothing when it is another, or not all there. Its length is in the
/// shortest form, as DER has it.
std::optional<Bytes> der_element(ByteReader& in, std::uint8_t tag) {
  if (in.u8() != tag) return std::nullopt;
  std::size_t length = in.u8();
  if (length == 0x81) {
    length = in.u8();
    if (length < 0x80) return std::nullopt;
  } else if (length == 0x82) {
    length = in.u16();
    if (length < 0x100) return std::nullopt;
  } else if (length >= 0x80) {
    return std::nullopt;
  }
  const Bytes content = in.take(length);
  if (in.failed()) return std::nullopt;
  return content;
}

/// A positive number without superfluous zeros.
std::optional<Bytes> der_positive(ByteReader& in) {
  const auto content = der_element(in, kDerInteger);
  if (!content || content->empty() || (*content)[0] >= 0x80) return std::nullopt;
  if ((*content)[0] != 0) return content;
  if (content->size() < 2 || (*content)[1] < 0x80) return std::nullopt;
  return content->subspan(1);
}

bool is_fair_rsa_key(Bytes key) {
  ByteReader outer(key);
  const auto numbers = der_element(outer, kDerSequence);
  if (!numbers || !outer.at_end()) return false;
  ByteReader in(*numbers);
  const auto modulus = der_positive(in);
  const auto exponent = der_positive(in);
  if (!modulus || !exponent || !in.at_end()) return false;
  constexpr std::size_t kMinModulusBytes = 64;  // shorter ones hold no signature with SHA-512's padding
  return modulus->size() >= kMinModulusBytes && modulus->size() <= kMaxRsaModulusBytes && modulus->back() % 2 == 1 &&
         exponent->size() <= kMaxRsaExponentBytes && exponent->back() % 2 == 1;
}

// ---- the value's maps ----

enum ValueMember : std::uint8_t { kIdOfValue, kDat, kPriority };
constexpr MemberName kValueNames[] = {{"id", kIdOfValue}, {"dat", kDat}, {"p", kPriority}};
enum DatMember : std::uint8_t { kBody, kSignature };
constexpr MemberName kDatNames[] = {{"body", kBody}, {"sig", kSignature}};
enum BodyMember : std::uint8_t { kDataOfBody, kTypeId, kUserType, kOwnerOfBody, kSeq, kTo };
constexpr MemberName kBodyNames[] = {{"data", kDataOfBody},   {"type", kTypeId}, {"utype", kUserType},
                                     {"owner", kOwnerOfBody}, {"seq", kSeq},     {"to", kTo}};

std::uint32_t length_of(std::size_t bytes) {
  return static_cast<std::uint32_t>(bytes);  // at most kMaxDhtValue
}

void body_member(MsgpackReader& in, BodyMember member, DhtValueInfo& out) {
  switch (member) {
    case kDataOfBody:
      out.data = length_of(read_blob(in, 0, kMaxDhtValue).size());
      break;
    case kTypeId:
      out.type = static_cast<std::uint16_t>(read_uint(in, 0xffff));
      break;
    case kSeq:
      read_uint(in, 0xffff);
      break;
    case kUserType:
      out.utype = length_of(read_text(in, kMaxDhtValue).size());
      break;
    case kOwnerOfBody: {
      const Bytes key = read_bin(in, 1, kMaxDhtOwnerKey);
      if (!in.failed() && !is_fair_public_key(key)) in.fail(DhtFault::kOutOfBounds);
      break;
    }
    case kTo:
      read_bin(in, 20, 20);
      break;
  }
}

void walk_body(MsgpackReader& in, DhtValueInfo& out) {
  Members members(in, 2);
  while (const auto member = members.next(kBodyNames)) body_member(in, static_cast<BodyMember>(*member), out);
  members.require({kDataOfBody, kTypeId});
  if (members.has(kOwnerOfBody)) members.require({kSeq});
  out.owned = members.has(kOwnerOfBody);
}

void walk_dat(MsgpackReader& in, DhtValueInfo& out) {
  MsgpackReader ahead = in;
  const MsgpackItem first = ahead.next();
  if (!first.is(Type::kMap)) {
    // Encrypted: what is inside is between the reader and the key.
    out.data = length_of(read_bin(in, 0, kMaxDhtValue).size());
    return;
  }
  Members members(in, 1);
  while (const auto member = members.next(kDatNames)) {
    if (*member == kBody) {
      walk_body(in, out);
    } else {
      out.sig = length_of(read_blob(in, 0, kMaxDhtValue).size());
    }
  }
  members.require({kBody});
  if (out.owned) members.require({kSignature});  // what names an owner has to be signed
}

}  // namespace

bool is_fair_public_key(Bytes der) {
  if (der.size() > kMaxDhtOwnerKey) return false;
  ByteReader outer(der);
  const auto info = der_element(outer, kDerSequence);
  if (!info || !outer.at_end()) return false;
  ByteReader in(*info);
  const auto algorithm = der_element(in, kDerSequence);
  const auto key = der_element(in, kDerBitString);
  // The first byte of a bit string says how many bits of the last one do not count.
  if (!algorithm || !key || !in.at_end() || key->size() < 2 || (*key)[0] != 0) return false;
  if (as_text(*algorithm).starts_with(as_text(kOidRsa))) return is_fair_rsa_key(key->subspan(1));
  return true;
}

DhtFault walk_dht_value(Bytes value, DhtValueInfo* info) {
  if (value.empty()) return DhtFault::kEmpty;
  if (value.size() > kMaxDhtValue) return DhtFault::kTooLong;
  MsgpackReader in(value);
  DhtValueInfo read;
  Members members(in, 0);
  while (const auto member = members.next(kValueNames)) {
    switch (static_cast<ValueMember>(*member)) {
      case kIdOfValue:
        read.id = read_uint(in, UINT64_MAX);
        break;
      case kDat:
        walk_dat(in, read);
        break;
      case kPriority:
        read_uint(in, UINT32_MAX);
        break;
    }
  }
  members.require({kIdOfValue, kDat});
  if (!in.failed() && !in.at_end()) in.fail(DhtFault::kTrailing);
  if (!in.failed() && info != nullptr) *info = read;
  return in.fault();
}

}  // namespace connd::proto
