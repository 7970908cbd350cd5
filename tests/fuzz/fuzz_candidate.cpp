// SPDX-License-Identifier: GPL-3.0-or-later
/// ICE text from a peer: what is read of it must print and read the same again, within its bounds.
#include <cstdint>
#include <cstdlib>

#include "proto/bytes.h"
#include "proto/ice_description.h"

using namespace connd::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto description = IceDescription::parse(as_text({data, size}));
  if (!description) return 0;
  if (description->candidates.size() > IceDescription::kMaxCandidates) std::abort();
  const auto again = IceDescription::parse(description->to_text());
  if (!again || *again != *description) std::abort();
  return 0;
}
