// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/ctl_grammar.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/output.h"

namespace connd::tools {
namespace {

constexpr const char* kFooter =
    R"--(PEER is a device id (64 hex digits) or an alias; where a verb opens channels, also an account id (40). Blanks in an id, and
'jami:' before it, are passed over. Names are shown with \xHH for control characters.

Exit codes: 0 done, ended cleanly; 1 other errors; 2 wrong usage; 3 jami-connd does not run; 4 peer not found, no
answer, no path; 5 declined, nobody listens, busy; 6 not permitted, banned, bad certificate; 7 timed out; 8 the channel
or connection broke: data may be incomplete; 128+n ended by signal n (141: the reader of our output has gone).

Example: jami-connctl trust allow "$(ssh bob jami-connctl id)")--";

/// Single letters to be changed, added or taken away between two words.
std::size_t letters_apart(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t before = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = before + (a[i - 1] == b[j - 1] ? 0 : 1);
      before = std::exchange(row[j], std::min({changed, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

constexpr std::size_t kMaxVerb = 64;  ///< longer words are like none
constexpr std::size_t kNear = 2;

/// The first word of the command line that is no option, where a verb has to be; -1: none.
std::ptrdiff_t verb_at(const std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--socket") {
      ++i;
    } else if (!args[i].starts_with("-")) {
      return static_cast<std::ptrdiff_t>(i);
    }
  }
  return -1;
}

/// What to say of a word that is no verb, and of one that is like it; nothing if it is a verb.
std::string unknown_verb(const CLI::App& app, const std::string& word) {
  std::string near;
  std::size_t least = kNear + 1;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name() == word) return {};
    const std::size_t n = word.size() > kMaxVerb ? least : letters_apart(word, verb->get_name());
    const bool begins = word.size() > 1 && verb->get_name().starts_with(word);
    if (n >= least && !(begins && near.empty())) continue;
    least = std::min(n, least);
    near = verb->get_name();
  }
  return "there is no verb '" + word.substr(0, kMaxVerb) + (word.size() > kMaxVerb ? "…'" : "'") +
         (near.empty() ? "" : "; did you mean '" + near + "'?");
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

}  // namespace

void add_grammar(CLI::App& app, Context& context) {
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "jami-connctl " CONND_VERSION);
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
  add_doctor(app, context);
  add_trust_verbs(app, context);
  add_request_verbs(app, context);
  add_identity_verbs(app, context);
  add_event_verbs(app, context);
}

int run_command_line(std::vector<std::string> args, Context& context) {
  CLI::App app(kSummary, kProgram);
  add_grammar(app, context);
  if (const std::ptrdiff_t at = verb_at(args); at >= 0) {
    // `help VERB` is `VERB --help`.
    if (args[static_cast<std::size_t>(at)] == "help") {
      args.erase(args.begin() + at);
      args.emplace_back("--help");
    } else if (const std::string text = unknown_verb(app, args[static_cast<std::size_t>(at)]); !text.empty()) {
      std::fprintf(stderr, "jami-connctl: %s: see 'jami-connctl --help'\n", printable(text).c_str());
      return kExitUsage;
    }
  }
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
