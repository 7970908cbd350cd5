// SPDX-License-Identifier: GPL-3.0-or-later
/// What the fuzz targets of the DHT share: each includes it once. libFuzzer changes their inputs, scripts of datagrams,
/// by DhtMutator; a build without libFuzzer replays them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/fuzz/dht_mutator.h"

#ifdef CONND_FUZZING
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max, unsigned seed) {
  const connd::proto::ByteVector out = connd::fuzz::DhtMutator(seed).mutate({data, size});
  const std::size_t length = std::min(out.size(), max);
  std::memcpy(data, out.data(), length);
  return length;
}
#endif
