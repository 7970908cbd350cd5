// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/ctl_grammar.h"

namespace connd::tools {
namespace {

constexpr const char* kFooter =
    R"--(PEER is a device id (64 hex digits) or an alias. Names are shown with \xHH for control characters.

Exit codes: 0 done, ended cleanly; 1 other errors; 2 wrong usage; 3 jami-connd does not run; 4 peer not found, no
answer, no path; 5 declined, nobody listens, busy; 6 not permitted, banned, bad certificate; 7 timed out; 8 the channel
or connection broke: data may be incomplete; 128+n ended by signal n (141: the reader of our output has gone).

Example: jami-connctl trust allow "$(ssh bob jami-connctl id)")--";

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

}  // namespace connd::tools
