// SPDX-License-Identifier: GPL-3.0-or-later
/// jami-connctl: the command line of jami-connd. Read this first: it parses the arguments and runs one verb, each of
/// which is in the ctl_ file of its group.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "tools/ctl_grammar.h"
#include "tools/output.h"

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

/// "open", "trust allow": as messages name it.
std::string verb_of(const CLI::App& app) {
  std::string name;
  for (const CLI::App* verb : app.get_subcommands()) {
    name += verb->get_name();
    if (const std::string inner = verb_of(*verb); !inner.empty()) name += " " + inner;
  }
  return name;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const std::string verb = verb_of(app);
  const std::string name = "jami-connctl" + (verb.empty() ? verb : " " + verb);
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::fprintf(stderr, "%s: %s: see '%s --help'\n", verb.empty() ? "jami-connctl" : ("jami-connctl: " + verb).c_str(),
               printable(text).c_str(), name.c_str());
  return kExitUsage;
}

int run(CLI::App& app, std::vector<std::string> args, Context& context) {
  try {
    std::reverse(args.begin(), args.end());  // as CLI11 wants it
    app.parse(std::move(args));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return usage_error(app, error);
  }
  context.verb = verb_of(app);
  const int code = context.run();
  // A verb that failed has told why.
  if (flush_stdout() || code != 0) return code;
  return context.fail(cannot_write(errno));
}

}  // namespace

int main(int argc, char** argv) {
  ensure_standard_fds();
  Context context;
  CLI::App app(kSummary, kProgram);
  add_grammar(app, context);
  return run(app, cut_exec(argc, argv, context), context);
}
