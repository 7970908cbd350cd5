// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_keep.h"

#include <algorithm>

#include "proto/dht_msgpack.h"

namespace connd::proto {
namespace {

/// A certificate without bytes: the one type of which every node of OpenDHT looks at what it keeps.
ByteVector no_certificate(std::uint64_t id) {
  constexpr std::uint8_t kCertificateType = 8;
  ByteVector out = {0x82};
  append_msgpack_text(out, "id");
  out.push_back(0xcf);
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(id >> shift));
  append_msgpack_text(out, "dat");
  out.push_back(0x81);
  append_msgpack_text(out, "body");
  out.push_back(0x82);
  append_msgpack_text(out, "type");
  out.push_back(kCertificateType);
  append_msgpack_text(out, "data");
  append_msgpack_bin(out, {});
  return out;
}

}  // namespace

bool DhtKeeper::is_own_key(Bytes key) const {
  return std::any_of(rules_.own_keys.begin(), rules_.own_keys.end(),
                     [&](const auto& own) { return std::equal(own.begin(), own.end(), key.begin(), key.end()); });
}

bool DhtKeeper::may_be_signed(std::uint64_t id, TimePoint now) {
  const bool is_own = std::find(own_signed_ids_.begin(), own_signed_ids_.end(), id) != own_signed_ids_.end();
  return is_own || signed_ids_.has(id, now);
}

ByteVector DhtKeeper::nothing() {
  // Of 64 bits that nobody can foresee: under it there is nothing.
  const std::uint64_t high = random_();
  return no_certificate((high << 32) | random_() | 1U);
}

std::optional<ByteVector> DhtKeeper::refuse(const DhtAddress& from, Bytes key, const DhtValueInfo& value,
                                            TimePoint now) {
  if (may_keep(from, key, value, now)) return std::nullopt;
  // It has no owner, either: where there is a signed one it goes under another id, which the answer then names.
  return value.id == 0 || may_be_signed(value.id, now) ? nothing() : no_certificate(value.id);
}

bool DhtKeeper::may_keep(const DhtAddress& from, Bytes key, const DhtValueInfo& value, TimePoint now) {
  if (value.bytes() == 0) return false;
  // What is put for us is of this type; others at the same key would be kept.
  if (value.type != 0 || !is_own_key(key)) {
    if (value.bytes() > rules_.max_value_bytes) return false;
    if (rules_.nothing && !is_private(from)) return false;
  }
  if (!value.owned) return !may_be_signed(value.id, now);
  return signed_ids_.add_alike(key, value.id, {value.data, value.sig, value.utype}, now);
}

void DhtKeeper::on_sent(const DhtMessage& message, TimePoint now) {
  if (message.kind == DhtKind::kRefresh) signed_ids_.renew(message.key, message.value_id, now);
  for (const DhtWholeValue& value : message.whole) {
    if (value.info.owned) signed_ids_.add(value.info.id, now);
  }
  for (const DhtPart& part : message.parts) {
    // OpenDHT writes id and owner at the beginning of a value; to take one for signed that is not does little harm.
    if (part.offset != 0 || as_text(part.bytes).find("\xa5owner") == std::string_view::npos) continue;
    MsgpackReader in(part.bytes);
    if (in.next().is(MsgpackItem::Type::kMap) && in.next().text() == "id") {
      if (const MsgpackItem id = in.next(); id.is(MsgpackItem::Type::kUint)) signed_ids_.add(id.number, now);
    }
  }
}

}  // namespace connd::proto
