// SPDX-License-Identifier: GPL-3.0-or-later
/// The verb doctor: looks at everything that has to work, and says what to do.
#include <algorithm>

#include <CLI/CLI.hpp>
#include <sys/timex.h>

#include "ipc/api_trust.h"
#include "ipc/control_socket.h"
#include "tools/ctl_context.h"
#include "tools/doctor.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

std::optional<bool> clock_synchronized() {
  timex state{};
  if (::adjtimex(&state) < 0) return std::nullopt;
  return (state.status & STA_UNSYNC) == 0;
}

ipc::Outcome<ipc::DaemonStatus> ask(const Context& context, Symptoms& symptoms) {
  auto client =
      ipc::Client::connect({.socket_path = context.socket_path, .name = "jami-connctl", .version = CONND_VERSION});
  if (!client) return client.error();
  // Others than administrators are not told.
  if (const auto list = (*client)->fetch_list<ipc::TrustListResult>("trust.list", "entries")) {
    symptoms.allowed = static_cast<std::size_t>(std::ranges::count_if(
        list->entries, [](const ipc::TrustEntry& entry) { return entry.trust == ipc::Trust::kAllowed; }));
  }
  return (*client)->fetch<ipc::DaemonStatus>("daemon.status");
}

int run_doctor(const Context& context) {
  Symptoms symptoms;
  symptoms.tool_version = CONND_VERSION;
  const auto paths = ipc::control_socket_paths(context.socket_path);
  for (const auto& path : paths) symptoms.socket_path += (symptoms.socket_path.empty() ? "" : " or ") + path;
  symptoms.clock_synchronized = clock_synchronized();
  symptoms.status = ask(context, symptoms);
  const auto findings = diagnose(symptoms);
  for (const Finding& finding : findings) {
    if (context.json) {
      ipc::Json line = {{"check", finding.check}, {"verdict", name_of(finding.verdict)}, {"text", finding.text}};
      if (!finding.advice.empty()) line["advice"] = finding.advice;
      print_json(line);
      continue;
    }
    std::printf("%-9s  %-9s  %s\n", std::string(name_of(finding.verdict)).c_str(), finding.check.c_str(),
                printable(finding.text).c_str());
    if (!finding.advice.empty()) std::printf("%-20s  -> %s\n", "", printable(finding.advice).c_str());
  }
  const bool bad = std::ranges::any_of(findings, [](const Finding& f) { return f.verdict == Verdict::kBad; });
  return bad ? kExitFailure : 0;
}

}  // namespace

void add_doctor(CLI::App& app, Context& context) {
  auto* doctor = app.add_subcommand("doctor", "look at everything that has to work, and say what to do");
  doctor->footer(R"(One line for each thing that is looked at: good, not known (yet), warning, bad; and what to do.
The exit code is 1 if anything is bad.

Example: jami-connctl doctor)");
  doctor->callback([&context] { context.run = [&context] { return run_doctor(context); }; });
}

}  // namespace connd::tools
