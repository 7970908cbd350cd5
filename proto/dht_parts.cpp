// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_parts.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "proto/dht_msgpack.h"

namespace connd::proto {
namespace {

constexpr std::size_t kInitialRecords = 16;

}  // namespace

DhtParts::DhtParts(std::function<std::uint32_t()> random, Room room)
    : random_(std::move(random)),
      room_(room),
      slots_(kInitialRecords, KeyHash{hash_seed(random_)}),
      shares_(kInitialRecords, DhtAddressHash{hash_seed(random_)}) {}

DhtParts::Record* DhtParts::find(const Key& key) {
  const auto found = slots_.find(key);
  return found == slots_.end() ? nullptr : records_[found->second].get();
}

bool DhtParts::knows(const DhtAddress& from, std::uint32_t tid) const {
  return slots_.contains({from, tid});
}

void DhtParts::remove(std::size_t slot) {
  const Record& record = *records_[slot];
  bytes_ -= record.bytes;
  const auto share = shares_.find(record.key.address);
  share->second.bytes -= record.bytes;
  if (--share->second.records == 0) shares_.erase(share);
  slots_.erase(record.key);
  if (slot + 1 < records_.size()) {
    records_[slot] = std::move(records_.back());
    slots_[records_[slot]->key] = slot;
  }
  records_.pop_back();
  if (records_.empty()) deadline_ = kNever;
}

void DhtParts::make_room(std::size_t records, std::size_t bytes, const Record* keep) {
  while (!records_.empty() && (records_.size() + records > kMaxPartRecords || bytes_ + bytes > room_.bytes)) {
    std::size_t victim = random_() % records_.size();
    if (records_[victim].get() == keep) {
      // It alone is never too much: one message is a fraction of the room.
      if (records_.size() == 1) return;
      victim = (victim + 1) % records_.size();
    }
    remove(victim);
  }
}

void DhtParts::add_bytes(Record& record, std::size_t bytes) {
  record.bytes += bytes;
  bytes_ += bytes;
  shares_[record.key.address].bytes += bytes;
}

DhtFault DhtParts::open(const DhtAddress& from, Bytes datagram, const DhtMessage& message, TimePoint now) {
  const Key key{from, message.tid};
  if (const Record* known = find(key)) {
    // Sent again because something was lost: the parts that come again fill the gap.
    if (std::equal(datagram.begin(), datagram.end(), known->datagram.begin(), known->datagram.end())) {
      return DhtFault::kNone;
    }
    remove(slots_.at(key));
  }
  if (const auto share = shares_.find(from); share != shares_.end()) {
    if (share->second.records >= kMaxPartRecordsOfAddress || share->second.bytes >= room_.bytes_of_address) {
      return DhtFault::kPartNoRoom;
    }
  }
  make_room(1, datagram.size(), nullptr);

  auto record = std::make_unique<Record>();
  record->key = key;
  record->is_put = message.kind == DhtKind::kPut;
  record->datagram.assign(datagram.begin(), datagram.end());
  record->begun = record->last = now;
  record->cut_out = cuts_of(message);
  // The shortest first: long junk takes no room from a chain or a request.
  std::vector<DhtSizedValue> sized = message.sized;
  std::stable_sort(sized.begin(), sized.end(),
                   [](const DhtSizedValue& a, const DhtSizedValue& b) { return a.size < b.size; });
  std::size_t announced = 0;
  for (const DhtSizedValue& value : sized) {
    if (announced + value.size > kMaxDhtAssembledValues) {
      record->cut_out.push_back({value.at, {}});
      ++bad_values_;
      continue;
    }
    announced += value.size;
    record->values.push_back({value, {}});
  }
  std::sort(record->values.begin(), record->values.end(),
            [](const Value& a, const Value& b) { return a.announced.index < b.announced.index; });
  std::sort(record->cut_out.begin(), record->cut_out.end(),
            [](const DhtCut& a, const DhtCut& b) { return a.at.offset < b.at.offset; });

  slots_.emplace(key, records_.size());
  records_.push_back(std::move(record));
  ++shares_[from].records;
  add_bytes(*records_.back(), datagram.size());
  deadline_ = std::min(deadline_, now + kPartIdleTime);
  return DhtFault::kNone;
}

bool DhtParts::add_part(Record& record, const DhtPart& part) {
  const auto value = std::lower_bound(record.values.begin(), record.values.end(), part.index,
                                      [](const Value& v, std::uint32_t index) { return v.announced.index < index; });
  if (value == record.values.end() || value->announced.index != part.index) return false;
  // As OpenDHT: the next part or none. Who sends them sends them in order, and all of them again.
  if (part.offset != value->bytes.size() || part.bytes.size() > value->announced.size - value->bytes.size()) {
    return false;
  }
  value->bytes.insert(value->bytes.end(), part.bytes.begin(), part.bytes.end());
  add_bytes(record, part.bytes.size());
  if (value->whole()) ++record.whole;
  return true;
}

DhtFault DhtParts::add(const DhtAddress& from, const DhtMessage& message, TimePoint now, const Judge& judge) {
  const Key key{from, message.tid};
  Record* record = find(key);
  if (record == nullptr) return DhtFault::kStrayPart;
  std::size_t bytes = 0;
  for (const DhtPart& part : message.parts) bytes += part.bytes.size();
  if (shares_.at(from).bytes + bytes > room_.bytes_of_address) return DhtFault::kPartNoRoom;
  make_room(0, bytes, record);

  bool any = false;
  for (const DhtPart& part : message.parts) any |= add_part(*record, part);
  if (!any) return DhtFault::kStrayPart;
  record->last = now;
  if (record->whole == record->values.size()) {
    complete(*record, judge);
    remove(slots_.at(key));
  }
  return DhtFault::kNone;
}

// What came whole was judged when the message came; since then another message, or a part of this one, may have brought
// a value that it must not come upon.
void DhtParts::judge_again(Record& record, const DhtMessage& put, const Judge& judge) {
  const auto before = [](const DhtCut& cut, std::size_t offset) { return cut.at.offset < offset; };
  for (const DhtWholeValue& value : put.whole) {
    const auto place = std::lower_bound(record.cut_out.begin(), record.cut_out.end(), value.at.offset, before);
    if (place != record.cut_out.end() && place->at.offset == value.at.offset) continue;
    auto instead = judge(put, value.info);
    if (!instead) continue;
    record.cut_out.insert(place, {value.at, std::move(*instead)});
    ++refused_values_;
  }
}

void DhtParts::complete(Record& record, const Judge& judge) {
  const bool judged = record.is_put && judge;
  DhtMessage put;                                            // not kept meanwhile: the message tells it again
  if (judged) (void)walk_dht_message(record.datagram, put);  // it was in order
  std::vector<DhtCut> values;
  for (Value& value : record.values) {
    DhtValueInfo info;
    std::optional<ByteVector> instead;
    if (walk_dht_value(value.bytes, &info) != DhtFault::kNone) {
      instead.emplace();
      ++bad_values_;
    } else if (judged) {
      instead = judge(put, info);
      if (instead) ++refused_values_;
    }
    values.push_back({value.announced.at, instead ? std::move(*instead) : std::move(value.bytes)});
  }
  if (judged) judge_again(record, put, judge);

  std::vector<DhtCut> all;
  std::merge(std::make_move_iterator(values.begin()), std::make_move_iterator(values.end()),
             std::make_move_iterator(record.cut_out.begin()), std::make_move_iterator(record.cut_out.end()),
             std::back_inserter(all), [](const DhtCut& a, const DhtCut& b) { return a.at.offset < b.at.offset; });
  complete_.push_back({record.key.address, splice(record.datagram, all)});
}

std::vector<DhtDatagram> DhtParts::take_complete() {
  return std::exchange(complete_, {});
}

void DhtParts::on_timeout(TimePoint now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  for (std::size_t i = 0; i < records_.size();) {
    const TimePoint end = std::min(records_[i]->last + kPartIdleTime, records_[i]->begun + kPartLifeTime);
    if (now >= end) {
      const TimePoint others = deadline_;
      remove(i);
      deadline_ = others;
      continue;
    }
    deadline_ = std::min(deadline_, end);
    ++i;
  }
}

void DhtParts::clear() {
  records_.clear();
  slots_.clear();
  shares_.clear();
  bytes_ = 0;
  deadline_ = kNever;
}

}  // namespace connd::proto
