// SPDX-License-Identifier: GPL-3.0-or-later
/// A connection request from the DHT: what is decoded must encode and decode to the same again.
#include <cstdint>
#include <cstdlib>

#include "proto/signal.h"

using namespace connd::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto request = ConnectionRequest::decode({data, size});
  if (!request) return 0;
  const auto again = ConnectionRequest::decode(request->encode());
  if (!again || *again != *request) std::abort();
  return 0;
}
