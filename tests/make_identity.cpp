// SPDX-License-Identifier: GPL-3.0-or-later
/// make_identity DIR [BITS]: makes DIR a state directory with a fresh identity of small keys, and prints its device id.
/// For tests, which must not wait for keys of the size that real devices use.
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "daemon/trust/identity_store.h"
#include "daemon/trust/state_dir.h"

namespace {

int fail(const connd::daemon::Failure& why) {
  std::fprintf(stderr, "make_identity: %s\n", why.text.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace connd::daemon;
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: make_identity DIR [BITS]\n");
    return 2;
  }
  const long bits = argc == 3 ? std::strtol(argv[2], nullptr, 10) : 2048;
  const IdentityStoreOptions options{bits > 0 ? static_cast<unsigned>(bits) : 0, std::time(nullptr)};
  const auto state = StateDir::open(argv[1]);
  if (!state) return fail(state.failure());
  if (const auto made = generate_identity(state->path(), options); !made) return fail(made.failure());
  const auto loaded = load_identity(state->path(), options.now_unix);
  if (!loaded) return fail(loaded.failure());
  std::printf("%s\n", loaded->identity.chain.device_id().hex().c_str());
  return 0;
}
