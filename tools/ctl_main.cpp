// SPDX-License-Identifier: GPL-3.0-or-later
/// jami-connctl: the command line of jami-connd. Read this first: it has the arguments parsed and one verb run, each
/// of which is in the ctl_ file of its group.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "tools/ctl_grammar.h"

using namespace connd::tools;

namespace {

/// Whoever started us without one of the three gets /dev/null for it: else the next fd that we open would become our
/// standard output.
void ensure_standard_fds() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) static_cast<void>(::open("/dev/null", O_RDWR));
  }
}

/// `--exec` takes all that is behind it as it stands, options of CMD included, so the parser must not see it.
std::vector<std::string> cut_exec(int argc, char** argv, Context& context) {
  std::vector<std::string> args(argv + 1, argv + argc);
  const auto verb = std::find(args.begin(), args.end(), "listen");
  const auto exec = std::find(verb, args.end(), "--exec");
  if (exec == args.end()) return args;
  context.has_exec = true;
  context.exec.assign(exec + 1, args.end());
  args.erase(exec, args.end());
  return args;
}

}  // namespace

int main(int argc, char** argv) {
  ensure_standard_fds();
  Context context;
  return run_command_line(cut_exec(argc, argv, context), context);
}
