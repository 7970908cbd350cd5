// SPDX-License-Identifier: GPL-3.0-or-later
// The plot, written as SVG by hand: two panels over the number of channels.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/bench/figures.h"
#include "tools/bench/print.h"

namespace connd::bench {
namespace {

constexpr double kWidth = 860;
constexpr double kHeight = 360;
constexpr double kTop = 44;
constexpr double kBottom = 306;
constexpr double kPanelWidth = 330;

struct Series {
  std::string label;
  const char* colour;
  std::vector<double> values;  ///< one for each number of channels
  bool dashed = false;
};

std::string label(double x, double y, const char* anchor, const std::string& text, const char* colour = "#444") {
  return print(R"(<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>)", x, y, anchor, colour, text.c_str()) +
         "\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return print(R"(<path d="M%.1f %.1fL%.1f %.1f" %s/>)", x1, y1, x2, y2, style) + "\n";
}

/// With a comma before each three digits.
std::string number(double value) {
  std::string digits = std::to_string(std::lround(value));
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

/// One panel: axes, ticks, and a line for each series.
class Panel {
 public:
  Panel(double left, const std::vector<std::size_t>& channels, std::vector<double> ticks, bool logarithmic)
      : left_(left), channels_(channels), ticks_(std::move(ticks)), logarithmic_(logarithmic) {}

  [[nodiscard]] std::string draw(const std::string& title, const std::vector<Series>& all) const {
    std::string out = print(R"(<text x="%.1f" y="22" font-size="15" font-weight="bold" fill="#222">)", left_);
    out += title + "</text>\n";
    for (const double tick : ticks_) {
      out += line(left_, y(tick), left_ + kPanelWidth, y(tick), R"(stroke="#ddd")");
      out += label(left_ - 6, y(tick) + 4, "end", number(tick));
    }
    for (const std::size_t n : channels_) out += label(x(n), kBottom + 18, "middle", number(static_cast<double>(n)));
    out += label(left_ + kPanelWidth / 2, kBottom + 38, "middle", "channels");
    double key = left_;
    for (const Series& series : all) {
      out += draw_series(series);
      const char* const dash = series.dashed ? R"( stroke-dasharray="5 4")" : "";
      out += line(key, 36, key + 18, 36, print(R"(stroke="%s" stroke-width="2"%s)", series.colour, dash).c_str());
      out += label(key + 23, 40, "start", series.label);
      key += 40 + 7 * static_cast<double>(series.label.size());
    }
    return out;
  }

 private:
  [[nodiscard]] double x(std::size_t n) const {
    const double span = std::max(std::log(static_cast<double>(channels_.back())), 1e-9);
    return left_ + 10 + (kPanelWidth - 20) * std::log(static_cast<double>(n)) / span;
  }
  [[nodiscard]] double y(double value) const {
    const auto scale = [&](double v) { return logarithmic_ ? std::log(v) : v; };
    const double low = scale(ticks_.front());
    const double part = (scale(std::max(value, ticks_.front())) - low) / (scale(ticks_.back()) - low);
    return kBottom - (kBottom - kTop - 14) * part;
  }
  [[nodiscard]] std::string draw_series(const Series& series) const {
    std::string path;
    std::string dots;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      const double px = x(channels_[i]);
      const double py = y(series.values[i]);
      path += print("%c%.1f %.1f", i == 0 ? 'M' : 'L', px, py);
      if (!series.dashed) dots += print(R"(<circle cx="%.1f" cy="%.1f" r="3.2" fill="%s"/>)", px, py, series.colour);
    }
    return print(R"(<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>)", path.c_str(), series.colour,
                 series.dashed ? R"( stroke-dasharray="5 4")" : "") +
           dots + "\n";
  }

  double left_;
  const std::vector<std::size_t>& channels_;
  std::vector<double> ticks_;
  bool logarithmic_;
};

std::vector<double> medians(const Report& report, const std::string& name) {
  std::vector<double> out;
  for (const std::size_t n : report.channels) out.push_back(report.figures.middle(at(name, n)));
  return out;
}

double greatest(const std::vector<Series>& all) {
  double out = 0;
  for (const Series& series : all) out = std::max(out, *std::max_element(series.values.begin(), series.values.end()));
  return out;
}

/// From 0, in steps of one size, past `top`.
std::vector<double> even_ticks(double top) {
  const double step = top > 1'500 ? 500 : top > 600 ? 200 : 100;
  std::vector<double> out{0};
  while (out.back() < top) out.push_back(out.back() + step);
  return out;
}

std::vector<double> decades(double top) {
  std::vector<double> out{10};
  while (out.back() < top) out.push_back(out.back() * 10);
  return out;
}

}  // namespace

std::string plot_of(const Report& report) {
  const auto flat = [&](const std::string& name) {
    return std::vector<double>(report.channels.size(), report.figures.middle(name));
  };
  const std::vector<Series> throughput = {{"daemons", "#0b62a4", medians(report, "daemon.mb_s")},
                                          {"bare relay", "#888", flat("relay.mb_s"), true}};
  const std::vector<Series> latency = {{"all idle", "#0b62a4", medians(report, "daemon.rtt_us")},
                                       {"all in bulk", "#c2410c", medians(report, "daemon.bulk_rtt_us")},
                                       {"bare relay, idle", "#888", flat("relay.rtt_us"), true}};
  std::string out = print(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">)",
      kWidth, kHeight);
  out += "\n<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n";
  out += print(R"(<rect width="%.0f" height="%.0f" fill="#fff"/>)", kWidth, kHeight) + "\n";
  out += Panel(60, report.channels, even_ticks(greatest(throughput)), false)
             .draw("Throughput, all channels in bulk, MB/s", throughput);
  out +=
      Panel(500, report.channels, decades(greatest(latency)), true).draw("Round trip of one more channel, µs", latency);
  return out + "</svg>\n";
}

}  // namespace connd::bench
