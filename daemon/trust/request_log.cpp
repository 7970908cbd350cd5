// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/request_log.h"

#include <algorithm>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

// The file: the magic with its version, then for each signer, least recently heard first, 32 bytes of device id, the
// count of ids (u16) and the ids (u64), oldest first. All numbers are big-endian.
constexpr std::string_view kRequestsMagic = "jami-connd requests 1\n";

void append_number(proto::ByteVector& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

std::uint64_t read_u64(proto::ByteReader& in) {
  const std::uint64_t high = in.u32();
  return (high << 32) | in.u32();
}

}  // namespace

bool SignerIds::insert(const proto::DeviceId& signer, std::uint64_t id) {
  const auto known = index_.find(signer);
  if (known == index_.end()) {
    signers_.push_back({signer, {}, 0});
    index_.emplace(signer, std::prev(signers_.end()));
  } else {
    signers_.splice(signers_.end(), signers_, known->second);
  }
  Signer& entry = signers_.back();
  if (std::find(entry.seen.begin(), entry.seen.end(), id) != entry.seen.end()) return false;
  if (entry.seen.size() == kMaxIdsPerSigner) {
    entry.seen[entry.oldest] = id;
    entry.oldest = (entry.oldest + 1) % kMaxIdsPerSigner;
    return true;
  }
  entry.seen.push_back(id);
  ++ids_;
  shrink();
  return true;
}

bool SignerIds::move_to(SignerIds& to, const proto::DeviceId& signer) {
  const auto known = index_.find(signer);
  if (known == index_.end()) return false;
  const auto entry = known->second;
  to.signers_.splice(to.signers_.end(), signers_, entry);
  to.index_.emplace(signer, entry);
  index_.erase(known);
  ids_ -= entry->seen.size();
  to.ids_ += entry->seen.size();
  to.shrink();
  return true;
}

void SignerIds::shrink() {
  // One signer alone is far below the bound of ids, so the last heard always stays.
  while (signers_.size() > kMaxSigners || ids_ > kMaxIds) {
    ids_ -= signers_.front().seen.size();
    index_.erase(signers_.front().id);
    signers_.pop_front();
  }
}

Outcome<RequestLog> RequestLog::open(std::string path) {
  RequestLog log(std::move(path));
  const auto bytes = read_bounded(log.path_, kMaxFileBytes);
  if (!bytes) return bytes.failure();
  if (*bytes && !load(**bytes, log.allowed_)) {
    return failure(std::errc::illegal_byte_sequence,
                   log.path_ + ": is damaged; remove it to start without it: requests may then be treated twice");
  }
  const auto unknown = read_bounded(log.path(Kind::kUnknown), kMaxFileBytes);
  SignerIds others;
  if (!unknown || !*unknown || !load(**unknown, others)) return log;
  // Who was allowed meanwhile may be in both: the files are not written together.
  for (const SignerIds::Signer& signer : others.signers()) {
    SignerIds& into = log.allowed_.contains(signer.id) ? log.allowed_ : log.unknown_;
    for (const std::uint64_t id : signer.seen) (void)into.insert(signer.id, id);
  }
  return log;
}

std::string RequestLog::path(Kind kind) const {
  return kind == Kind::kAllowed ? path_ : path_ + "-unknown";
}

bool RequestLog::load(proto::Bytes bytes, SignerIds& into) {
  proto::ByteReader in(bytes);
  if (proto::as_text(in.take(kRequestsMagic.size())) != kRequestsMagic) return false;
  while (!in.failed() && !in.at_end()) {
    proto::DeviceId signer;
    const proto::Bytes id = in.take(signer.bytes.size());
    const std::size_t count = in.u16();
    if (in.failed() || count == 0 || count > SignerIds::kMaxIdsPerSigner) return false;
    std::copy(id.begin(), id.end(), signer.bytes.begin());
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t request = read_u64(in);
      if (in.failed() || !into.insert(signer, request)) return false;
    }
  }
  return !in.failed();
}

bool RequestLog::first_seen(const proto::DeviceId& signer, std::uint64_t id, bool allowed) {
  SignerIds& mine = allowed ? allowed_ : unknown_;
  SignerIds& other = allowed ? unknown_ : allowed_;
  // Trust may have changed since the last request; what was seen stays seen.
  const bool moved = other.move_to(mine, signer);
  const bool first = mine.insert(signer, id);
  if (moved || (first && allowed)) changed(Kind::kAllowed);
  if (moved || (first && !allowed)) changed(Kind::kUnknown);
  return first;
}

RequestLog::Snapshot RequestLog::serialize(Kind kind) const {
  const SignerIds& ids = kind == Kind::kAllowed ? allowed_ : unknown_;
  // Of the others the last heard: as many from the end as there is room for.
  auto from = ids.signers().begin();
  std::size_t left = ids.ids();
  for (; kind == Kind::kUnknown && left > kMaxStoredUnknown; ++from) left -= from->seen.size();

  Snapshot out{{kRequestsMagic.begin(), kRequestsMagic.end()}, file(kind).change};
  out.bytes.reserve(kRequestsMagic.size() + ids.signers().size() * (proto::DeviceId::kBytes + 2) + left * 8);
  for (; from != ids.signers().end(); ++from) {
    out.bytes.insert(out.bytes.end(), from->id.bytes.begin(), from->id.bytes.end());
    append_number(out.bytes, from->seen.size(), 2);
    for (std::size_t i = 0; i < from->seen.size(); ++i) {
      append_number(out.bytes, from->seen[(from->oldest + i) % from->seen.size()], 8);
    }
  }
  return out;
}

Outcome<void> RequestLog::save() {
  for (const Kind kind : {Kind::kAllowed, Kind::kUnknown}) {
    const Snapshot snapshot = serialize(kind);
    if (auto written = write_atomically(path(kind), snapshot.bytes, 0600); !written) return written;
    saved(snapshot.change, kind);
  }
  return {};
}

}  // namespace connd::daemon
