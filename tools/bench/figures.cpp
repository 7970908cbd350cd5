// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/figures.h"

#include <algorithm>
#include <cstdio>

#include "tools/bench/print.h"

namespace connd::bench {
namespace {

struct Row {
  std::string name;
  std::string text;
  const char* format;  ///< of one number
};

/// A bound that a figure should keep.
struct Measure {
  std::string name;
  std::string text;
  bool at_least;
  double bound;
};

std::vector<Row> rows(const Report& report) {
  const std::string opens = std::to_string(report.opens);
  std::vector<Row> out = {
      {"plain.mb_s", "TCP and TLS between two processes, MB/s", "%.0f"},
      {"relay.mb_s", "bare relay, MB/s", "%.0f"},
      {"relay.cpu_s_gb", "bare relay, CPU s per GB (apps included)", "%.2f"},
      {"relay.middle_cpu_s_gb", "  of these, the two relays", "%.2f"},
      {"relay.rtt_us", "bare relay, round trip, us", "%.0f"},
  };
  out.push_back({"daemon.rtt_us", "daemons, round trip, us", "%.0f"});
  for (const std::size_t n : report.channels) {
    const std::string with = "daemons, " + std::to_string(n) + (n == 1 ? " channel" : " channels");
    out.push_back({at("daemon.mb_s", n), with + ", MB/s", "%.0f"});
    out.push_back({at("daemon.cpu_s_gb", n), "  CPU s per GB (apps included)", "%.2f"});
    out.push_back({at("daemon.middle_cpu_s_gb", n), "  of these, the two daemons", "%.2f"});
    out.push_back({at("daemon.ratio", n), "  throughput relative to the bare relay", "%.2f"});
    if (n > 1) out.push_back({at("daemon.jain", n), "  Jain's index of the channels' shares", "%.4f"});
    out.push_back({at("daemon.rtt_us", n), "  round trip beside them, idle, us", "%.0f"});
    out.push_back({at("daemon.bulk_rtt_us", n), "  round trip beside them, all in bulk, us", "%.0f"});
  }
  out.insert(out.end(), {
                            {"open.first_ms", "first open, fresh pair, ms", "%.0f"},
                            {"open.further_us", "further open, us", "%.0f"},
                            {"open.many_s", opens + " opens, s", "%.2f"},
                        });
  for (const std::string who : {"alice", "bob"}) {
    out.push_back({"rss." + who + ".before_mb", who + ": RSS, connected, MB", "%.1f"});
    out.push_back({"rss." + who + ".during_mb", "  with " + opens + " idle channels, MB", "%.1f"});
    out.push_back({"rss." + who + ".after_mb", "  after these, MB", "%.1f"});
    out.push_back({"rss." + who + ".bulk_mb", "  after all bulk transfers, MB", "%.1f"});
    out.push_back({"rss." + who + ".channel_bytes", "  for each idle channel, bytes", "%.0f"});
  }
  out.push_back({"kernel.channel_bytes", "kernel memory for each channel, both sides and apps, bytes", "%.0f"});
  return out;
}

std::vector<Measure> measures(const Report& report) {
  std::vector<Measure> out = {
      {at("daemon.ratio", 1), "throughput, 1 channel, relative to the bare relay", true, 0.7},
      {at("daemon.ratio", 100), "throughput, 100 channels, relative to the bare relay", true, 0.7},
      {"measure.rtt", "round trip, relative to the bare relay's", false, 2},
      {"measure.further_open", "further open, relative to the bare relay's round trip", false, 3},
      {"open.many_s", std::to_string(report.opens) + " opens, s", false, 2},
      {"rss.alice.channel_bytes", "RSS for each idle channel, calling daemon, bytes", false, 6 * 1024},
      {"rss.bob.channel_bytes", "RSS for each idle channel, called daemon, bytes", false, 6 * 1024},
      {"measure.bulk_rtt", "round trip beside bulk, relative to idle", false, 5},
      {at("daemon.jain", 100), "Jain's index, 100 bulk channels", true, 0.95},
  };
  std::erase_if(out, [&](const Measure& m) { return !report.figures.has(m.name); });
  return out;
}

bool holds(const Measure& measure, double value) {
  return measure.at_least ? value >= measure.bound : value <= measure.bound;
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double jains_index(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 0;
}

void Figures::append(const Figures& round) {
  for (const auto& [name, values] : round.values_) {
    values_[name].insert(values_[name].end(), values.begin(), values.end());
  }
}

std::string at(const std::string& name, std::size_t channels) {
  return name + "." + std::to_string(channels);
}

std::string text_of(const Report& report) {
  std::string out = print("%d rounds, %d void; median (least to greatest)\n\n", report.rounds, report.void_rounds);
  for (const Row& row : rows(report)) {
    if (!report.figures.has(row.name)) continue;
    const auto& all = report.figures.all(row.name);
    const auto number = [&](double value) { return print(row.format, value); };
    out += print("%-60s %9s  (%s to %s)\n", row.text.c_str(), number(median(all)).c_str(),
                 number(*std::min_element(all.begin(), all.end())).c_str(),
                 number(*std::max_element(all.begin(), all.end())).c_str());
  }
  out += "\nmeasure                                                        value   bound\n";
  for (const Measure& measure : measures(report)) {
    const double value = report.figures.middle(measure.name);
    out += print("%-58s %9.4g  %s %-5g %s\n", measure.text.c_str(), value,
                 measure.at_least ? ">=" : "<=", measure.bound, holds(measure, value) ? "holds" : "MISSED");
  }
  return out;
}

nlohmann::json json_of(const Report& report) {
  nlohmann::json figures = nlohmann::json::object();
  for (const auto& [name, values] : report.figures.values()) {
    figures[name] = {{"median", median(values)}, {"rounds", values}};
  }
  nlohmann::json judged = nlohmann::json::array();
  for (const Measure& measure : measures(report)) {
    const double value = report.figures.middle(measure.name);
    judged.push_back({{"name", measure.name},
                      {"text", measure.text},
                      {"value", value},
                      {measure.at_least ? "at_least" : "at_most", measure.bound},
                      {"holds", holds(measure, value)}});
  }
  return {{"rounds", report.rounds}, {"void_rounds", report.void_rounds},
          {"opens", report.opens},   {"channels", report.channels},
          {"figures", figures},      {"measures", judged}};
}

}  // namespace connd::bench
