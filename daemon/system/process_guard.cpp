// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/process_guard.h"

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace connd::daemon {
namespace {

void* plain_malloc(std::size_t size, const char* /*file*/, int /*line*/) {
  return std::malloc(size);
}

void wiping_free(void* memory, const char* /*file*/, int /*line*/) {
  if (memory == nullptr) return;
  ::explicit_bzero(memory, ::malloc_usable_size(memory));
  std::free(memory);
}

void* wiping_realloc(void* memory, std::size_t size, const char* file, int line) {
  if (size == 0) {
    wiping_free(memory, file, line);
    return nullptr;
  }
  void* const fresh = std::malloc(size);
  if (fresh == nullptr || memory == nullptr) return fresh;
  std::memcpy(fresh, memory, std::min(size, ::malloc_usable_size(memory)));
  wiping_free(memory, file, line);
  return fresh;
}

}  // namespace

void wipe_freed_keys() {
  (void)::CRYPTO_set_mem_functions(plain_malloc, wiping_realloc, wiping_free);
}

Outcome<void> guard_memory() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return system_failure(errno, "PR_SET_DUMPABLE", "cannot be set");
  // Not dumpable is enough for today's kernels; the limit is what a person looks at, and what a child would get.
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return system_failure(errno, "RLIMIT_CORE", "cannot be set");
  return {};
}

}  // namespace connd::daemon
