// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_walker.h"

#include <algorithm>
#include <cassert>

#include "proto/dht_members.h"
#include "proto/dht_msgpack.h"

namespace connd::proto {
namespace {

using Type = MsgpackItem::Type;

constexpr std::size_t kHashBytes = 20;
constexpr std::size_t kNode4Bytes = kHashBytes + 4 + 2;
constexpr std::size_t kNode6Bytes = kHashBytes + 16 + 2;

enum Top : std::uint8_t { kY, kR, kU, kE, kP, kT, kV, kN, kS, kQ, kA };
constexpr MemberName kTopNames[] = {{"y", kY}, {"r", kR}, {"u", kU}, {"e", kE}, {"p", kP}, {"t", kT},
                                    {"v", kV}, {"n", kN}, {"s", kS}, {"q", kQ}, {"a", kA}};

enum Request : std::uint8_t {
  kSid,
  kId,
  kHash,
  kTarget,
  kQuery,
  kToken,
  kValueId,
  kNodes4,
  kNodes6,
  kAddress,
  kCreated,
  kValues,
  kExpired,
  kRefreshed,
  kFields,
  kWant,
  kVersion,
};
constexpr MemberName kRequestNames[] = {
    {"id", kId},     {"h", kHash},      {"target", kTarget}, {"sa", kAddress}, {"n4", kNodes4},
    {"n6", kNodes6}, {"token", kToken}, {"q", kQuery},       {"w", kWant},     {"values", kValues},
    {"sid", kSid},   {"vid", kValueId}, {"fileds", kFields},  // so in OpenDHT
    {"c", kCreated}, {"exp", kExpired}, {"re", kRefreshed},  {"ve", kVersion}};

enum Part : std::uint8_t { kOffset, kData };
constexpr MemberName kPartNames[] = {{"o", kOffset}, {"d", kData}};
enum FieldsMember : std::uint8_t { kFieldNumbers, kFieldValues };
constexpr MemberName kFieldsNames[] = {{"f", kFieldNumbers}, {"v", kFieldValues}};
enum QueryMember : std::uint8_t { kSelect, kWhere };
constexpr MemberName kQueryNames[] = {{"s", kSelect}, {"w", kWhere}};
enum FilterMember : std::uint8_t { kFilterField, kFilterValue };
constexpr MemberName kFilterNames[] = {{"f", kFilterField}, {"v", kFilterValue}};

/// OpenDHT's Value::Field.
enum Field : std::uint8_t { kFieldId = 1, kFieldType, kFieldOwner, kFieldSeq, kFieldUserType };

struct QueryName {
  std::string_view name;
  DhtKind kind;
};
constexpr QueryName kQueryKinds[] = {
    {"ping", DhtKind::kPing},           {"find", DhtKind::kFind}, {"get", DhtKind::kGet},
    {"listen", DhtKind::kListen},       {"put", DhtKind::kPut},   {"refresh", DhtKind::kRefresh},
    {"update", DhtKind::kUpdateRequest}};

/// An integer, or 4 bytes in network order. OpenDHT reads fewer bytes, too, and then some of its stack.
std::uint32_t read_tid(MsgpackReader& in) {
  MsgpackReader ahead = in;
  if (!ahead.next().is(Type::kBin)) return static_cast<std::uint32_t>(read_uint(in, UINT32_MAX));
  ByteReader bytes(read_bin(in, 4, 4));
  return bytes.u32();
}

class Walker {
 public:
  Walker(Bytes datagram, DhtMessage& out) : datagram_(datagram), out_(out) {}

  DhtFault walk() {
    if (datagram_.empty()) return DhtFault::kEmpty;
    if (datagram_.size() > kMaxDhtDatagram) return DhtFault::kTooLong;
    out_.clear();
    MsgpackReader in(datagram_);
    Members members(in, 0);
    while (const auto member = members.next(kTopNames)) top_member(in, static_cast<Top>(*member));
    members.require({kT});
    if (!in.failed() && !in.at_end()) in.fail(DhtFault::kTrailing);
    if (in.failed()) return in.fault();
    return walk_kind(members);
  }

 private:
  void top_member(MsgpackReader& in, Top member) {
    switch (member) {
      case kY:
        y_ = read_text(in, kMaxDhtAgent);
        break;
      case kQ:
        q_ = read_text(in, kMaxDhtAgent);
        break;
      case kV:
        read_text(in, kMaxDhtAgent);
        break;
      case kT:
        out_.tid = read_tid(in);
        break;
      case kN:
        out_.network = static_cast<std::uint32_t>(read_uint(in, UINT32_MAX));
        break;
      case kS:
        read_bool(in);
        break;
      case kR:
        r_ = in.take(1);
        break;
      case kU:
        u_ = in.take(1);
        break;
      case kE:
        e_ = in.take(1);
        break;
      case kP:
        p_ = in.take(1);
        break;
      case kA:
        a_ = in.take(1);
        break;
    }
  }

  // OpenDHT tells the kind by which members are there, in this order.
  DhtFault walk_kind(const Members& members) {
    if (members.has(kP)) {
      // No node sends parts beside anything else, and OpenDHT would go by the other member.
      if (members.has(kA) || members.has(kR) || members.has(kU) || members.has(kE)) return DhtFault::kUnknownKind;
      out_.kind = DhtKind::kValueData;
      return walk_parts();
    }
    if (members.has(kE)) {
      out_.kind = DhtKind::kError;
      if (const DhtFault fault = walk_error(); fault != DhtFault::kNone) return fault;
    } else if (members.has(kR)) {
      out_.kind = DhtKind::kReply;
    } else if (members.has(kU)) {
      out_.kind = DhtKind::kUpdate;
    } else if (const DhtFault fault = find_query(members); fault != DhtFault::kNone) {
      return fault;
    }
    // The request is the first of these; the others are not read, and have to be maps all the same.
    for (const Bytes other : {a_, r_, u_}) {
      if (!other.empty() && !MsgpackReader(other).next().is(Type::kMap)) return DhtFault::kNotMap;
    }
    const Bytes request = !a_.empty() ? a_ : !r_.empty() ? r_ : u_;
    if (request.empty()) return DhtFault::kMissing;
    return walk_request(request);
  }

  DhtFault find_query(const Members& members) {
    if (members.has(kY) && y_ != "q") return DhtFault::kUnknownKind;
    const auto* found =
        std::find_if(std::begin(kQueryKinds), std::end(kQueryKinds), [&](const QueryName& k) { return k.name == q_; });
    if (found == std::end(kQueryKinds)) return DhtFault::kUnknownKind;
    out_.kind = found->kind;
    return DhtFault::kNone;
  }

  // OpenDHT reads the first element, whether there is one or not. Nodes send a number and a text.
  DhtFault walk_error() {
    MsgpackReader in(e_, 1);
    if (read_array(in, kMaxDhtMembers) == 0) in.fail(DhtFault::kMissing);
    read_uint(in, 0xffff);
    return in.fault();
  }

  DhtFault walk_parts() {
    MsgpackReader in(p_, 1);
    const MsgpackItem head = in.next();
    if (!head.is(Type::kMap)) return in.failed() ? in.fault() : DhtFault::kNotMap;
    if (head.number > kMaxDhtPartsOfDatagram) return DhtFault::kTooMany;
    if (head.number == 0) return DhtFault::kMissing;
    for (std::uint64_t i = 0; i < head.number && !in.failed(); ++i) walk_part(in);
    return in.fault();
  }

  void walk_part(MsgpackReader& in) {
    DhtPart part;
    part.index = static_cast<std::uint32_t>(read_uint(in, kMaxDhtValues - 1));
    Members members(in, 2);
    while (const auto member = members.next(kPartNames)) {
      if (*member == kOffset) {
        part.offset = static_cast<std::uint32_t>(read_uint(in, kMaxDhtValue));
      } else {
        part.bytes = read_blob(in, 1, kMaxDhtValue);
      }
    }
    members.require({kOffset, kData});
    const auto same = [&](const DhtPart& other) { return other.index == part.index; };
    if (std::any_of(out_.parts.begin(), out_.parts.end(), same)) in.fail(DhtFault::kDuplicate);
    if (!in.failed()) out_.parts.push_back(part);
  }

  DhtFault walk_request(Bytes request) {
    MsgpackReader in(request, 1);
    Members members(in, 0);
    while (const auto member = members.next(kRequestNames)) request_member(in, static_cast<Request>(*member));
    // Without an id, or with one of zeros, OpenDHT takes it for its own message.
    members.require({kId});
    if (!in.failed() && std::all_of(out_.id.begin(), out_.id.end(), [](auto b) { return b == 0; })) {
      in.fail(DhtFault::kMissing);
    }
    out_.has_token = members.has(kToken);
    return in.fault();
  }

  void request_member(MsgpackReader& in, Request member) {
    switch (member) {
      case kSid:
        read_tid(in);
        break;
      case kId:
        out_.id = read_bin(in, kHashBytes, kHashBytes);
        break;
      case kHash:
        out_.key = read_bin(in, kHashBytes, kHashBytes);
        break;
      case kTarget:
        read_bin(in, kHashBytes, kHashBytes);
        break;
      case kQuery:
        walk_query(in);
        break;
      case kToken:
        read_blob(in, 0, kMaxDhtToken);
        break;
      case kValueId:
        out_.value_id = read_uint(in, UINT64_MAX);
        break;
      case kNodes4:
        walk_nodes(in, kNode4Bytes);
        break;
      case kNodes6:
        walk_nodes(in, kNode6Bytes);
        break;
      case kAddress:
        if (const Bytes ip = read_bin(in, 4, 16); ip.size() != 4 && ip.size() != 16) in.fail(DhtFault::kOutOfBounds);
        break;
      case kCreated:
        read_int(in, kMaxDhtTime);  // of a value without end, put by a node whose clock is wrong, it is negative
        break;
      case kValues:
        walk_values(in);
        break;
      case kExpired:
      case kRefreshed:
        for (std::size_t n = read_array(in, kMaxDhtValues); n > 0 && !in.failed(); --n) read_uint(in, UINT64_MAX);
        break;
      case kFields:
        walk_fields(in);
        break;
      case kWant:
        for (std::size_t n = read_array(in, kMaxDhtMembers); n > 0 && !in.failed(); --n) read_uint(in, 0xffff);
        break;
      case kVersion:
        read_uint(in, INT32_MAX);
        break;
    }
  }

  static void walk_nodes(MsgpackReader& in, std::size_t node_bytes) {
    if (read_blob(in, 0, kMaxDhtNodes * node_bytes).size() % node_bytes != 0) in.fail(DhtFault::kOutOfBounds);
  }

  void walk_values(MsgpackReader& in) {
    const std::size_t count = read_array(in, kMaxDhtValues);
    out_.values = count;
    for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
      const Bytes element = in.take(2);
      if (in.failed()) return;
      const DhtSpan at{static_cast<std::size_t>(element.data() - datagram_.data()), element.size()};
      const MsgpackItem head = MsgpackReader(element).next();
      if (head.is(Type::kUint)) {
        // OpenDHT goes over those that are too long, and so do we; it would wait for ever for none at all.
        if (head.number == 0 || head.number > kMaxDhtValue) {
          out_.bad_values.push_back(at);
        } else {
          out_.sized.push_back({i, static_cast<std::uint32_t>(head.number), at});
        }
      } else if (!head.is(Type::kNil)) {
        DhtValueInfo info;
        if (walk_dht_value(element, &info) == DhtFault::kNone) {
          out_.whole.push_back({at, info});
        } else {
          out_.bad_values.push_back(at);
        }
      }
    }
  }

  static std::size_t walk_field_numbers(MsgpackReader& in) {
    const std::size_t count = read_array(in, kFieldUserType);
    std::uint32_t seen = 0;
    for (std::size_t i = 0; i < count && !in.failed(); ++i) {
      const auto bit = 1U << read_uint(in, kFieldUserType);
      if (bit == 1U || (seen & bit) != 0) in.fail(DhtFault::kOutOfBounds);
      seen |= bit;
    }
    return count;
  }

  // OpenDHT divides the number of values by the number of fields.
  static void walk_fields(MsgpackReader& in) {
    Members members(in, 1);
    while (const auto member = members.next(kFieldsNames)) {
      if (*member == kFieldNumbers) {
        if (walk_field_numbers(in) == 0) in.fail(DhtFault::kMissing);
      } else {
        // It looks at the type of each one.
        for (std::size_t n = read_array(in, kMaxDhtElements); n > 0 && !in.failed(); --n) in.skip(2);
      }
    }
    members.require({kFieldNumbers});
  }

  static void walk_query(MsgpackReader& in) {
    Members members(in, 1);
    while (const auto member = members.next(kQueryNames)) {
      if (*member == kSelect) {
        walk_field_numbers(in);
      } else {
        for (std::size_t n = read_array(in, kMaxDhtFilters); n > 0 && !in.failed(); --n) walk_filter(in);
      }
    }
    members.require({kSelect, kWhere});
  }

  static void walk_filter(MsgpackReader& in) {
    std::uint64_t field = 0;
    MsgpackItem value;
    Members members(in, 3);
    while (const auto member = members.next(kFilterNames)) {
      if (*member == kFilterField) {
        field = read_uint(in, kFieldUserType);
      } else {
        value = in.next();
        if (value.is(Type::kMap) || value.is(Type::kArray)) in.fail(DhtFault::kWrongType);
      }
    }
    members.require({kFilterField, kFilterValue});
    if (in.failed()) return;
    switch (field) {
      case kFieldId:
      case kFieldType:
        if (!value.is(Type::kUint)) in.fail(DhtFault::kWrongType);
        break;
      case kFieldOwner:
        if (!value.is(Type::kBin)) in.fail(DhtFault::kWrongType);
        if (value.bytes.size() != kHashBytes) in.fail(DhtFault::kOutOfBounds);
        break;
      case kFieldUserType:
        if (!value.is_blob()) in.fail(DhtFault::kWrongType);
        break;
      default:  // OpenDHT cannot read a filter by the sequence number
        in.fail(DhtFault::kOutOfBounds);
    }
  }

  Bytes datagram_;
  DhtMessage& out_;
  std::string_view y_;
  std::string_view q_;
  // Whole objects of the datagram, empty when they are not there.
  Bytes a_, r_, u_, e_, p_;
};

}  // namespace

void DhtMessage::clear() {
  kind = DhtKind::kPing;
  tid = network = 0;
  id = key = {};
  has_token = false;
  values = 0;
  sized.clear();
  whole.clear();
  value_id = 0;
  parts.clear();
  bad_values.clear();
  refused.clear();
}

DhtFault walk_dht_message(Bytes datagram, DhtMessage& message) {
  return Walker(datagram, message).walk();
}

ByteVector encode_dht_ping(const DhtPing& ping) {
  ByteVector out;
  out.push_back(static_cast<std::uint8_t>(0x80 | (ping.network != 0 ? 6 : 5)));
  append_msgpack_text(out, "a");
  out.push_back(0x81);
  append_msgpack_text(out, "id");
  append_msgpack_bin(out, ping.node_id);
  append_msgpack_text(out, "q");
  append_msgpack_text(out, "ping");
  append_msgpack_text(out, "t");
  append_msgpack_u32(out, ping.tid);
  append_msgpack_text(out, "y");
  append_msgpack_text(out, "q");
  append_msgpack_text(out, "v");
  append_msgpack_text(out, "RNG1");
  if (ping.network != 0) {
    append_msgpack_text(out, "n");
    append_msgpack_u32(out, ping.network);
  }
  return out;
}

ByteVector splice(Bytes datagram, const std::vector<DhtSpan>& spans, const std::vector<Bytes>& bytes) {
  assert(spans.size() == bytes.size());
  std::size_t size = datagram.size();
  for (std::size_t i = 0; i < spans.size(); ++i) size += bytes[i].size() - spans[i].length;
  ByteVector out;
  out.reserve(size);
  std::size_t from = 0;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    assert(spans[i].offset >= from && spans[i].offset + spans[i].length <= datagram.size());
    const Bytes before = datagram.subspan(from, spans[i].offset - from);
    out.insert(out.end(), before.begin(), before.end());
    out.insert(out.end(), bytes[i].begin(), bytes[i].end());
    from = spans[i].offset + spans[i].length;
  }
  const Bytes rest = datagram.subspan(from);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

std::vector<DhtCut> cuts_of(const DhtMessage& message) {
  std::vector<DhtCut> out = message.refused;
  for (const DhtSpan& at : message.bad_values) out.push_back({at, {}});
  std::sort(out.begin(), out.end(), [](const DhtCut& a, const DhtCut& b) { return a.at.offset < b.at.offset; });
  return out;
}

ByteVector splice(Bytes datagram, const std::vector<DhtCut>& cuts) {
  std::vector<DhtSpan> spans;
  std::vector<Bytes> bytes;
  for (const DhtCut& cut : cuts) {
    spans.push_back(cut.at);
    bytes.push_back(cut.instead.empty() ? Bytes(kMsgpackNil) : Bytes(cut.instead));
  }
  return splice(datagram, spans, bytes);
}

}  // namespace connd::proto
