// SPDX-License-Identifier: GPL-3.0-or-later
/// jami-connd-bench: what two real daemons do, relative to a bare relay on the same machine in the same minute.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include "tools/bench/board.h"
#include "tools/bench/rounds.h"

namespace {

using namespace connd::bench;

/// Void rounds that are repeated, at most; a machine that has more is not fit to measure on.
constexpr int kMaxVoidRounds = 5;
/// Files of a process beside its channels.
constexpr rlim_t kOtherFiles = 300;

/// As many files as we may have, for us and for all that we start. How many channels a process can hold then.
std::size_t raise_file_limit() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  return files.rlim_max > kOtherFiles ? static_cast<std::size_t>(files.rlim_max - kOtherFiles) : 1;
}

std::string default_daemon() {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  return (self.parent_path() / "../../daemon/jami-connd").lexically_normal().string();
}

std::string default_identities() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  const std::string base =
      cache != nullptr && *cache != '\0' ? cache : std::string(home != nullptr ? home : "/tmp") + "/.cache";
  return base + "/jami-connd-bench";
}

void make_quick(Plan& plan) {
  plan.channels = {1, 10, 100};
  plan.opens = 500;
  plan.window_seconds = 0.1;
  plan.round_trips = plan.bulk_round_trips = 50;
  plan.further_opens = 20;
}

void fit_to_file_limit(Plan& plan, std::size_t most) {
  most = std::min(most, kMaxChannels);
  if (plan.opens <= most) return;
  std::fprintf(stderr, "bench: at most %zu channels, for the limit of open files\n", most);
  plan.opens = most;
  std::erase_if(plan.channels, [most](std::size_t n) { return n > most; });
}

/// A quick run takes what comes: it may be one of many tests on a busy machine.
Report measure(const Plan& plan, int rounds, bool quick) {
  Report report;
  report.channels = plan.channels;
  report.opens = plan.opens;
  while (report.rounds < rounds) {
    const Round round = run_round(plan);
    if (round.is_void && !quick) {
      std::fprintf(stderr, "bench: a round is void: the relay was slower than 1/1.6 of plain TCP and TLS\n");
      if (++report.void_rounds > kMaxVoidRounds) throw Failure("too many void rounds: is the machine busy?");
      continue;
    }
    report.figures.append(round.figures);
    std::fprintf(stderr, "bench: round %d of %d\n", ++report.rounds, rounds);
  }
  return report;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures two jami-connd on this machine against a bare relay: throughput, round trips, opens, memory.");
  Plan plan;
  plan.lab.daemon = default_daemon();
  plan.lab.identities = default_identities();
  int rounds = 5;
  bool quick = false;
  bool json = false;
  std::string plot;
  app.add_option("--rounds", rounds, "how often everything is measured (default 5)")->check(CLI::Range(1, 100));
  app.add_option("--channels", plan.channels, "numbers of channels to try (default 1,10,100,1000,8000)")
      ->delimiter(',');
  app.add_option("--opens", plan.opens, "opens at once (default 8000)");
  app.add_flag("--quick", quick, "one short round: shows that it works, measures nothing well");
  app.add_flag("--json", json, "all figures as JSON");
  app.add_option("--plot", plot, "write a plot over the number of channels to this file (SVG)");
  app.add_option("--daemon", plan.lab.daemon, "the jami-connd to measure (default: of the same build)");
  app.add_option("--identities", plan.lab.identities,
                 "directory with the daemons' keys, made where missing (default ~/.cache/jami-connd-bench)");
  CLI11_PARSE(app, argc, argv);
  if (quick) make_quick(plan);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    std::sort(plan.channels.begin(), plan.channels.end());
    fit_to_file_limit(plan, raise_file_limit());
    prepare_identities(plan.lab);
    const Report report = measure(plan, quick ? 1 : rounds, quick);
    std::fputs((json ? json_of(report).dump(2) + "\n" : text_of(report)).c_str(), stdout);
    if (!plot.empty() && !(std::ofstream(plot) << plot_of(report))) throw Failure("cannot write " + plot);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
