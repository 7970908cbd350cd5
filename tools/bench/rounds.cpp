// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/rounds.h"

#include <algorithm>
#include <numeric>

#include "tools/bench/app.h"
#include "tools/bench/yardstick.h"

namespace connd::bench {
namespace {

/// What is measured begins this part of a window after its start: windows of channels grow, caches get warm.
constexpr double kWarmPart = 0.4;
constexpr double kDataSeconds = 60;  // a failure, not a wait
constexpr double kLookSeconds = 0.001;
constexpr std::uint32_t kWarmRoundTrips = 50;
constexpr double kMega = 1e6;

double us(double seconds) {
  return seconds * 1e6;
}

/// Two apps that share channels: one opens and sends, one accepts and takes.
struct Pair {
  BoardPtr board = make_board();
  std::unique_ptr<App> opener;
  std::unique_ptr<App> acceptor;

  /// Of the opener's last samples; seconds.
  [[nodiscard]] double median_sample() const {
    std::vector<double> seconds;
    for (std::size_t i = 0; i < std::min(opener->samples(), kMaxSamples); ++i)
      seconds.push_back(static_cast<double>(board->samples[i]) * 1e-9);
    return median(std::move(seconds));
  }

  void open(std::size_t count) {
    acceptor->start(Task::kExpect, static_cast<std::uint32_t>(count));
    opener->run(Task::kOpen, static_cast<std::uint32_t>(count));
    acceptor->finish();
  }
  void close() {
    acceptor->start(Task::kClose);
    opener->run(Task::kClose);
    acceptor->finish();
  }
  /// Seconds, median.
  double round_trip(std::uint32_t count) {
    board->running = true;
    acceptor->start(Task::kEcho);
    opener->run(Task::kPing, std::min(count, kWarmRoundTrips));
    opener->run(Task::kPing, count);
    board->running = false;
    acceptor->finish();
    return median_sample();
  }
};

Pair daemon_pair(Lab& lab, const std::string& uri) {
  Pair pair;
  pair.acceptor = std::make_unique<App>(Side::kCallee, Plug{{}, lab.bob().socket_path(), "", uri}, *pair.board);
  pair.opener =
      std::make_unique<App>(Side::kCaller, Plug{{}, lab.alice().socket_path(), lab.bob().device(), uri}, *pair.board);
  pair.acceptor->run(Task::kConnect);
  pair.opener->run(Task::kConnect);
  return pair;
}

/// Bytes and processor time at one moment.
struct Reading {
  double time = now_seconds();
  double apps = 0;
  double middle = 0;
  std::vector<double> taken;
};

struct Throughput {
  double bytes_per_second = 0;
  double cpu_per_byte = 0;
  double middle_cpu_per_byte = 0;
  double jain = 0;
};

using Children = std::vector<const Child*>;

Reading read_now(const Board& board, const Children& apps, const Children& middle, std::size_t channels) {
  Reading out;
  for (const Child* child : apps) out.apps += child->cpu_seconds();
  for (const Child* child : middle) out.middle += child->cpu_seconds();
  for (std::size_t i = 0; i < channels; ++i) out.taken.push_back(static_cast<double>(board.taken[i]));
  return out;
}

/// Until something has come beyond `before`: on a busy machine the first byte may take longer than a short window.
void wait_for_data(const Board& board, const std::vector<double>& before) {
  const double limit = now_seconds() + kDataSeconds;
  const auto moved = [&] {
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (static_cast<double>(board.taken[i]) > before[i]) return true;
    }
    return false;
  };
  while (!moved()) {
    if (now_seconds() > limit) throw Failure("no data moved");
    sleep_seconds(kLookSeconds);
  }
}

/// Of what has been started.
Throughput measure(const Board& board, const Children& apps, const Children& middle, std::size_t channels,
                   double seconds) {
  wait_for_data(board, read_now(board, apps, middle, channels).taken);
  sleep_seconds(seconds * kWarmPart);
  const Reading before = read_now(board, apps, middle, channels);
  sleep_seconds(seconds);
  wait_for_data(board, before.taken);
  const Reading after = read_now(board, apps, middle, channels);
  std::vector<double> shares;
  for (std::size_t i = 0; i < channels; ++i) shares.push_back(after.taken[i] - before.taken[i]);
  const double bytes = std::accumulate(shares.begin(), shares.end(), 0.0);
  return {bytes / (after.time - before.time), (after.apps + after.middle - before.apps - before.middle) / bytes,
          (after.middle - before.middle) / bytes, jains_index(shares)};
}

double plain_throughput(const Plan& plan, SSL_CTX* context) {
  const BoardPtr board = make_board();
  SocketPair net = tcp_pair();
  const Child taker = Child::fork(Side::kCallee, [&] { run_tls_taker(std::move(net.second), context, *board); });
  const Child sender = Child::fork(Side::kCaller, [&] { run_tls_sender(std::move(net.first), context); });
  return measure(*board, {&taker, &sender}, {}, 1, plan.window_seconds).bytes_per_second;
}

struct RelayFigures {
  Throughput throughput;
  double round_trip = 0;
};

RelayFigures measure_relay(const Plan& plan, SSL_CTX* context) {
  Pair pair;
  SocketPair left = unix_pair();
  SocketPair right = unix_pair();
  SocketPair net = tcp_pair();
  const Child caller =
      Child::fork(Side::kCaller, [&] { run_relay(std::move(left.second), std::move(net.first), context, true); });
  const Child callee =
      Child::fork(Side::kCallee, [&] { run_relay(std::move(right.second), std::move(net.second), context, false); });
  const auto plug = [](ipc::Fd fd) {
    Plug out;
    out.fds.push_back(std::move(fd));
    return out;
  };
  pair.opener = std::make_unique<App>(Side::kCaller, plug(std::move(left.first)), *pair.board);
  pair.acceptor = std::make_unique<App>(Side::kCallee, plug(std::move(right.first)), *pair.board);
  RelayFigures out;
  out.round_trip = pair.round_trip(plan.round_trips);
  pair.board->running = true;
  pair.acceptor->start(Task::kTake);
  pair.opener->start(Task::kSend);
  out.throughput = measure(*pair.board, {&pair.opener->child(), &pair.acceptor->child()}, {&caller, &callee}, 1,
                           plan.window_seconds);
  return out;  // the processes are killed in the middle of it
}

/// One round's daemons, apps, and what was found so far.
class RoundRun {
 public:
  explicit RoundRun(const Plan& plan) : plan_(plan), lab_(plan.lab) {}

  Round run() {
    ping_ = daemon_pair(lab_, "bench/ping");
    bulk_ = daemon_pair(lab_, "bench/bulk");
    first_open();
    many_opens();

    const double plain = plain_throughput(plan_, context_.get());
    out_.figures.add("plain.mb_s", plain / kMega);
    further_opens();
    double before = relay();
    for (const std::size_t n : plan_.channels) {
      const double daemons = channels(n).bytes_per_second;
      const double after = relay();
      out_.figures.add(at("daemon.ratio", n), 2 * daemons / (before + after));
      before = after;
    }
    const double relay_round_trip = out_.figures.middle("relay.rtt_us");
    out_.figures.add("measure.rtt", out_.figures.middle("daemon.rtt_us") / relay_round_trip);
    out_.figures.add("measure.further_open", out_.figures.middle("open.further_us") / relay_round_trip);
    out_.is_void = out_.figures.middle("relay.mb_s") < out_.figures.middle("plain.mb_s") * kLeastRelay;
    for (const auto& [name, daemon] : daemons()) {
      out_.figures.add("rss." + name + ".bulk_mb", daemon->child().rss_bytes() / kMega);
    }
    return std::move(out_);
  }

 private:
  std::vector<std::pair<std::string, Daemon*>> daemons() { return {{"alice", &lab_.alice()}, {"bob", &lab_.bob()}}; }

  void first_open() {
    ping_.acceptor->start(Task::kExpect, 1);
    out_.figures.add("open.first_ms", ping_.opener->run(Task::kOpenEach, 1) * 1e3);
    ping_.acceptor->finish();
  }

  /// Many opens at once, and what so many idle channels cost.
  void many_opens() {
    std::vector<double> before;
    for (const auto& [name, daemon] : daemons()) {
      before.push_back(daemon->child().rss_bytes());
      out_.figures.add("rss." + name + ".before_mb", before.back() / kMega);
    }
    const double kernel = kernel_bytes();
    const auto count = static_cast<std::uint32_t>(plan_.opens);
    bulk_.acceptor->start(Task::kExpect, count);
    out_.figures.add("open.many_s", bulk_.opener->run(Task::kOpen, count));
    bulk_.acceptor->finish();

    const auto opens = static_cast<double>(plan_.opens);
    out_.figures.add("kernel.channel_bytes", (kernel_bytes() - kernel) / opens);
    for (std::size_t i = 0; const auto& [name, daemon] : daemons()) {
      const double now = daemon->child().rss_bytes();
      out_.figures.add("rss." + name + ".during_mb", now / kMega);
      out_.figures.add("rss." + name + ".channel_bytes", (now - before[i++]) / opens);
    }
    close_bulk();
    for (const auto& [name, daemon] : daemons()) {
      out_.figures.add("rss." + name + ".after_mb", daemon->child().rss_bytes() / kMega);
    }
  }

  void close_bulk() {
    bulk_.close();
    for (const auto& [name, daemon] : daemons()) daemon->wait_channels(1);  // ping_'s
  }

  /// Bytes per second. Right after the relay's round trips and throughput, the daemons' round trips.
  double relay() {
    const RelayFigures out = measure_relay(plan_, context_.get());
    out_.figures.add("relay.mb_s", out.throughput.bytes_per_second / kMega);
    out_.figures.add("relay.cpu_s_gb", out.throughput.cpu_per_byte * 1e9);
    out_.figures.add("relay.middle_cpu_s_gb", out.throughput.middle_cpu_per_byte * 1e9);
    out_.figures.add("relay.rtt_us", us(out.round_trip));
    out_.figures.add("daemon.rtt_us", us(ping_.round_trip(plan_.round_trips)));
    return out.throughput.bytes_per_second;
  }

  void further_opens() {
    bulk_.acceptor->start(Task::kExpect, plan_.further_opens);
    bulk_.opener->run(Task::kOpenEach, plan_.further_opens);
    bulk_.acceptor->finish();
    out_.figures.add("open.further_us", us(bulk_.median_sample()));
    close_bulk();
  }

  Throughput channels(std::size_t count) {
    bulk_.open(count);
    const double idle = ping_.round_trip(plan_.round_trips);
    bulk_.board->running = true;
    bulk_.acceptor->start(Task::kTake);
    bulk_.opener->start(Task::kSend);
    const Throughput out = measure(*bulk_.board, {&bulk_.opener->child(), &bulk_.acceptor->child()},
                                   {&lab_.alice().child(), &lab_.bob().child()}, count, plan_.window_seconds);
    const double busy = ping_.round_trip(plan_.bulk_round_trips);
    bulk_.board->running = false;
    bulk_.opener->finish();
    bulk_.acceptor->finish();
    close_bulk();

    out_.figures.add(at("daemon.mb_s", count), out.bytes_per_second / kMega);
    out_.figures.add(at("daemon.cpu_s_gb", count), out.cpu_per_byte * 1e9);
    out_.figures.add(at("daemon.middle_cpu_s_gb", count), out.middle_cpu_per_byte * 1e9);
    out_.figures.add(at("daemon.jain", count), out.jain);
    out_.figures.add(at("daemon.rtt_us", count), us(idle));
    out_.figures.add(at("daemon.bulk_rtt_us", count), us(busy));
    if (count == 1) out_.figures.add("measure.bulk_rtt", busy / idle);
    return out;
  }

  const Plan& plan_;
  const SslCtxPtr context_ = make_tls_context();
  Lab lab_;
  Pair ping_;
  Pair bulk_;
  Round out_;
};

}  // namespace

Round run_round(const Plan& plan) {
  return RoundRun(plan).run();
}

}  // namespace connd::bench
