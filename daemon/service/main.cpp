// SPDX-License-Identifier: GPL-3.0-or-later
// jami-connd. Read this first, then daemon.cpp, then connection_manager.cpp.
#include <malloc.h>

#include <csignal>
#include <cstdio>

#include "daemon/service/daemon.h"
#include "daemon/system/log.h"
#include "daemon/system/process_guard.h"

int main(int argc, char** argv) {
  using namespace connd::daemon;
  wipe_freed_keys();
  // Buffers of slow channels are large and short-lived: glibc must give them back, not learn to keep them.
  mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  std::signal(SIGPIPE, SIG_IGN);

  auto parsed = parse_command_line({argv + 1, argv + argc});
  if (const auto* exit = std::get_if<CommandLineExit>(&parsed)) {
    std::fputs(exit->text.c_str(), exit->code == 0 ? stdout : stderr);
    return exit->code;
  }
  const CommandLine& given = std::get<CommandLine>(parsed);
  const Environment environment = Environment::of_process();
  const auto config = load_config(given, environment);
  if (!config) {
    const CommandLineExit exit = usage_error(config.failure());
    std::fputs(exit.text.c_str(), stderr);
    return exit.code;
  }
  if (!config->debuggable) {
    if (auto guarded = guard_memory(); !guarded) {
      std::fprintf(stderr, "jami-connd: %s\n", guarded.failure().text.c_str());
      return 1;
    }
  }
  set_up_logging(config->log_level, environment);
  auto daemon = Daemon::create(*config, environment, [&] { return load_config(given, environment); });
  if (!daemon) {
    std::fprintf(stderr, "jami-connd: %s\n", daemon.failure().text.c_str());
    return 1;
  }
  return (*daemon)->run();
}
