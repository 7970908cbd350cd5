// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtKeeper: which values that are put at our node get to OpenDHT, which keeps them for others.
///
/// OpenDHT's own rules are by the type of a value, and not for types that it does not know; these are for all. And its
/// accounts of who keeps how much go wrong by a value of no bytes, and by a signed one that takes the place of a longer
/// or shorter one: then it frees an account that is still in use, and ends the process some minutes later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_gate.h"
#include "proto/dht_signed_ids.h"
#include "proto/dht_walker.h"
#include "proto/time.h"

namespace connd::proto {

/// Sans-IO; what it remembers is bounded (dht_signed_ids.h).
class DhtKeeper {
 public:
  explicit DhtKeeper(const DhtGateConfig& config)
      : rules_(config.keep), own_signed_ids_(config.signed_ids), random_(config.random), signed_ids_(config.random) {}

  /// Whether a value that `from` puts under `key` may get to OpenDHT: nothing when it may, and it is remembered; else
  /// what stands in its place. OpenDHT answers a put once for each of its values, and who gets no answer takes our node
  /// for gone. So it gets a value that no node keeps.
  [[nodiscard]] std::optional<ByteVector> refuse(const DhtAddress& from, Bytes key, const DhtValueInfo& value,
                                                 TimePoint now);
  /// A value is renewed that may be here.
  void on_refresh(Bytes key, std::uint64_t id, TimePoint now) { signed_ids_.renew(key, id, now); }
  /// OpenDHT sends a message: of its values it has those that are signed, our own or others'.
  void on_sent(const DhtMessage& message, TimePoint now);

 private:
  [[nodiscard]] bool is_own_key(Bytes key) const;
  [[nodiscard]] ByteVector nothing();
  [[nodiscard]] bool may_keep(const DhtAddress& from, Bytes key, const DhtValueInfo& value, TimePoint now);
  [[nodiscard]] bool may_be_signed(std::uint64_t id, TimePoint now);

  DhtKeepRules rules_;
  std::vector<std::uint64_t> own_signed_ids_;  ///< a few; they have no end
  std::function<std::uint32_t()> random_;
  DhtSignedIds signed_ids_;
};

}  // namespace connd::proto
