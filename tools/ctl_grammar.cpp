// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/ctl_grammar.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "tools/output.h"

namespace connd::tools {
namespace {

constexpr const char* kFooter =
    R"--(PEER is a device id (64 hex digits) or an alias. Names are shown with \xHH for control characters.

Exit codes: 0 done, ended cleanly; 1 other errors; 2 wrong usage; 3 jami-connd does not run; 4 peer not found, no
answer, no path; 5 declined, nobody listens, busy; 6 not permitted, banned, bad certificate; 7 timed out; 8 the channel
or connection broke: data may be incomplete; 128+n ended by signal n (141: the reader of our output has gone).

Example: jami-connctl trust allow "$(ssh bob jami-connctl id)")--";

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

}  // namespace

void add_grammar(CLI::App& app, Context& context) {
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--socket", context.socket_path,
                 "control socket of jami-connd (else $JAMI_CONND_SOCKET, user, system)")
      ->type_name("PATH");
  app.add_flag("--json", context.json, "print one JSON object per line, with the API's member names");
  app.add_flag("-v,--verbose", context.verbose, "say more");
  add_status_verbs(app, context);
  add_open(app, context);
  add_listen(app, context);
  add_send(app, context);
  add_receive(app, context);
  add_trust_verbs(app, context);
  add_identity_verbs(app, context);
  add_event_verbs(app, context);
}

int run_command_line(std::vector<std::string> args, Context& context) {
  CLI::App app(kSummary, kProgram);
  add_grammar(app, context);
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

}  // namespace connd::tools
