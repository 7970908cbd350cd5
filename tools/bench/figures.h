// SPDX-License-Identifier: GPL-3.0-or-later
/// Figures: what was measured, a value for each round under a name, and what is to be said of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace connd::bench {

double median(std::vector<double> values);
/// (sum x)^2 / (n * sum x^2): 1 when all are equal, 1/n when one has all.
double jains_index(const std::vector<double>& shares);

class Figures {
 public:
  void add(const std::string& name, double value) { values_[name].push_back(value); }
  /// All of another round.
  void append(const Figures& round);
  [[nodiscard]] bool has(const std::string& name) const { return values_.count(name) != 0; }
  /// In the order of rounds. The name must be there.
  [[nodiscard]] const std::vector<double>& all(const std::string& name) const { return values_.at(name); }
  [[nodiscard]] double middle(const std::string& name) const { return median(all(name)); }
  [[nodiscard]] const std::map<std::string, std::vector<double>>& values() const { return values_; }

 private:
  std::map<std::string, std::vector<double>> values_;
};

/// The name of a figure for one number of channels.
std::string at(const std::string& name, std::size_t channels);

struct Report {
  Figures figures;
  std::vector<std::size_t> channels;  ///< numbers of channels that were tried, growing
  std::size_t opens = 0;              ///< how many were opened at once
  int rounds = 0;
  int void_rounds = 0;
};

/// For people: each figure's median and range over the rounds, then each measure and whether it holds.
std::string text_of(const Report& report);
/// The same for programs; `rounds` of each figure are its single values.
nlohmann::json json_of(const Report& report);
/// Throughput and latency over the number of channels, as SVG.
std::string plot_of(const Report& report);

}  // namespace connd::bench
