// SPDX-License-Identifier: GPL-3.0-or-later
// Two ends that follow the rules, driven by chance over links that hold bytes back and cut them anywhere. Whatever the
// order: the connection never fails, every open is reported once, no byte is lost, doubled or given to another channel.
// In Jami's dialect an end may cut what the other side still had to say, and nothing else.
#include <set>

#include <catch2/catch.hpp>

#include "tests/sim/mux_pair.h"

using namespace connd::proto;
using connd::tests::MuxEnd;
using connd::tests::MuxPair;
using Kind = MuxEvent::Kind;

namespace {

class Monkey {
 public:
  /// `kept`: ids of each half that are in use all the time.
  Monkey(unsigned seed, MuxPair::MakeDialect dialect, std::size_t kept = 0)
      : random_(seed), kept_(kept), pair_(config(kept), config(kept), dialect) {
    keep_open();
    pair_.client.accept_all = pair_.server.accept_all = false;
    pair_.client.take_at_once = pair_.server.take_at_once = false;
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    drain();
    check(client_);
    check(server_);
    CHECK(pair_.client.mux->channel_count() == 2 * kept_);
    CHECK(pair_.server.mux->channel_count() == 2 * kept_);
    if (kept_ > 0) return;
    CHECK(pair_.client.mux->buffered_bytes() == 0);
    CHECK(pair_.server.mux->buffered_bytes() == 0);
  }
  [[nodiscard]] int opened() const { return opened_; }

 private:
  struct App {
    std::string name;
    bool ours = false;
    bool open = false;
    bool over = false;  ///< nothing more is expected
    bool finished = false;
    bool end_seen = false;
    std::size_t written = 0;
    std::size_t checked = 0;  ///< bytes received and found right
    std::size_t consumed = 0;
  };
  struct Side {
    MuxEnd& end;
    std::map<ChannelHandle, App> apps{};
    std::size_t events_seen = 0;
    std::size_t pending = 0;
  };

  static MuxConfig config(std::size_t kept) {
    MuxConfig c;
    if (kept == 0) c.max_channels = 12;  // few, so that limits are met often
    return c;
  }
  /// Channels that nobody looks at, on the ids that the rest does not get.
  void keep_open() {
    for (std::size_t i = 0; i < kept_; ++i) {
      (void)pair_.client.mux->open("kept", false, pair_.now);
      (void)pair_.server.mux->open("kept", false, pair_.now);
    }
    pair_.settle();
    client_.events_seen = pair_.client.events.size();
    server_.events_seen = pair_.server.events.size();
    REQUIRE(pair_.server.mux->channel_count() == 2 * kept_);
  }
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  /// What an app writes names the channel that it belongs to, so that a crossed byte shows.
  static char byte_at(const std::string& name, std::size_t i) { return name.empty() ? 'e' : name[i % name.size()]; }
  static std::string payload(const App& app, std::size_t n) {
    std::string out(n, ' ');
    for (std::size_t i = 0; i < n; ++i) out[i] = byte_at(app.name, app.written + i);
    return out;
  }

  void step() {
    Side& side = below(2) == 0 ? client_ : server_;
    const bool to_server = &side == &server_;
    pair_.now += Duration{below(30)};
    switch (below(9)) {
      case 0:
        return open(side);
      case 1:
        return answer(side);
      case 2:
        return write(side);
      case 3:
        return consume(side);
      case 4:
        return finish(side);
      case 5:
        if (below(4) == 0) reset(side);
        return;
      case 6:
        side.end.flush(to_server ? pair_.to_client : pair_.to_server);
        return;
      default:
        deliver(to_server, 1 + below(below(3) == 0 ? 100'000 : 200));
        return;
    }
  }

  void open(Side& side) {
    const bool unique = below(5) == 0;
    std::string name = unique ? "unique" + std::to_string(below(2)) : "name" + std::to_string(opened_++);
    auto opened = side.end.mux->open(name, unique, pair_.now);
    if (!opened || opened->joined) return;
    App app;
    app.name = std::move(name);
    app.ours = true;
    side.apps[opened->channel] = app;
  }
  /// A channel of the side for which `wanted` holds, by chance.
  template <class Wanted>
  std::pair<const ChannelHandle, App>* pick(Side& side, Wanted wanted) {
    std::vector<std::pair<const ChannelHandle, App>*> fit;
    for (auto& entry : side.apps) {
      if (!entry.second.over && wanted(entry.second)) fit.push_back(&entry);
    }
    return fit.empty() ? nullptr : fit[below(fit.size())];
  }
  void answer(Side& side) {
    auto* entry = pick(side, [](const App& a) { return !a.ours && !a.open; });
    if (entry == nullptr) return;
    if (below(4) == 0) {
      side.end.mux->refuse(entry->first, Reason::kDeclined, "no");
      entry->second.over = true;
    } else {
      entry->second.open = side.end.mux->accept(entry->first, pair_.now);
    }
  }
  void write(Side& side) {
    auto* entry = pick(side, [](const App& a) { return a.open && !a.finished; });
    if (entry == nullptr) return;
    const std::string bytes = payload(entry->second, below(below(4) == 0 ? 300'000 : 50));
    if (bytes.empty()) return;
    entry->second.written += bytes.size();
    side.end.write(entry->first, bytes);
  }
  void consume(Side& side) {
    auto* entry = pick(side, [](const App& a) { return a.checked > a.consumed; });
    if (entry != nullptr) consume(side, *entry, 1 + below(entry->second.checked - entry->second.consumed));
  }
  void consume(Side& side, std::pair<const ChannelHandle, App>& entry, std::size_t n) {
    side.end.mux->consumed(entry.first, n, pair_.now);
    entry.second.consumed += n;
  }
  void finish(Side& side) {
    auto* entry = pick(side, [](const App& a) { return a.open && !a.finished; });
    if (entry == nullptr || !side.end.to_send[entry->first].empty()) return;
    finish(side, *entry);
  }
  void finish(Side& side, std::pair<const ChannelHandle, App>& entry) {
    side.end.mux->finish(entry.first);
    entry.second.finished = true;
    if (!half_close()) entry.second.over = true;
  }
  [[nodiscard]] bool half_close() const { return pair_.client.mux->rules().half_close; }
  void reset(Side& side) {
    auto* entry = pick(side, [](const App& a) { return a.ours || a.open; });
    if (entry == nullptr) return;
    side.end.mux->reset(entry->first, Reason::kCancelled, "");
    entry->second.over = true;
  }

  void deliver(bool to_server, std::size_t n) {
    to_server ? pair_.deliver_to_server(n) : pair_.deliver_to_client(n);
    Side& side = to_server ? server_ : client_;
    REQUIRE_FALSE(side.end.error);
    take_events(side);
    take_data(side);
  }
  void take_events(Side& side) {
    for (; side.events_seen < side.end.events.size(); ++side.events_seen) {
      const MuxEnd::Seen& seen = side.end.events[side.events_seen];
      if (seen.kind == Kind::kRequested) {
        REQUIRE(side.apps.count(seen.channel) == 0);
        side.apps[seen.channel].name = seen.name;
        continue;
      }
      if (seen.kind == Kind::kHello) continue;
      REQUIRE(side.apps.count(seen.channel) == 1);
      App& app = side.apps[seen.channel];
      REQUIRE_FALSE(app.over);  // nothing is reported of a channel that is over
      if (seen.kind == Kind::kOpened) {
        REQUIRE_FALSE(app.open);
        app.open = true;
      } else if (seen.kind == Kind::kEnd) {
        REQUIRE(app.open);
        REQUIRE_FALSE(app.end_seen);
        app.end_seen = true;
        if (half_close()) continue;
        app.over = true;
        side.end.to_send[seen.channel].clear();
      } else if (seen.kind == Kind::kRefused || seen.kind == Kind::kCancelled) {
        REQUIRE_FALSE(app.open);
        app.over = true;
      } else {
        REQUIRE(seen.kind == Kind::kReset);
        // A unique open that its opener cancelled after the peer's had moved to it leaves a duplicate to reset.
        const bool duplicate = seen.reason == Reason::kDuplicate && app.name.rfind("unique", 0) == 0;
        REQUIRE((seen.reason == Reason::kCancelled || duplicate));
        app.over = true;
      }
    }
  }
  void take_data(Side& side) {
    for (auto& [handle, bytes] : side.end.received) {
      App& app = side.apps[handle];
      bool right = true;
      for (; app.checked < bytes.size(); ++app.checked) right &= bytes[app.checked] == byte_at(app.name, app.checked);
      REQUIRE(right);
    }
  }

  /// Lets everything run to its end: all answered, all read, all closed.
  void drain() {
    // Beside channels without number a window is the smallest, and what was written takes its time.
    const int rounds = kept_ > 0 ? 4'000 : 400;
    for (int round = 0; round < rounds; ++round) {
      for (Side* side : {&client_, &server_}) {
        while (auto* entry = pick(*side, [](const App& a) { return !a.ours && !a.open; })) {
          entry->second.open = side->end.mux->accept(entry->first, pair_.now);
          if (!entry->second.open) break;
        }
        for (auto& entry : side->apps) {
          App& app = entry.second;
          if (!app.over && app.checked > app.consumed) consume(*side, entry, app.checked - app.consumed);
          const bool sent = side->end.to_send[entry.first].empty();
          if (!app.over && app.open && !app.finished && sent) finish(*side, entry);
        }
      }
      client_.end.flush(pair_.to_server);
      server_.end.flush(pair_.to_client);
      deliver(true, pair_.to_server.size());
      deliver(false, pair_.to_client.size());
    }
    for (Side* side : {&client_, &server_}) {
      for (auto& [handle, app] : side->apps) side->end.mux->release(handle);
    }
  }
  void check(Side& side) {
    for (auto& [handle, app] : side.apps) {
      INFO(app.name);
      CHECK((app.over || (app.open && app.finished && app.end_seen)));
    }
    Side& other = &side == &client_ ? server_ : client_;
    for (auto& [handle, app] : side.apps) {
      if (app.name.rfind("name", 0) != 0) continue;
      for (auto& [far_handle, far] : other.apps) {
        if (far.name != app.name) continue;
        CHECK(app.checked <= far.written);
        if (!app.over && !far.over) CHECK(far.written == app.checked);
      }
    }
  }

  std::mt19937 random_;
  const std::size_t kept_;
  MuxPair pair_;
  Side client_{pair_.client};
  Side server_{pair_.server};
  int opened_ = 0;
};

}  // namespace

// Sanitizers make a run thirty times as slow; they look for other things than rare orders.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr unsigned kSeeds = 15;
constexpr unsigned kReuseSeeds = 1;
#else
constexpr unsigned kSeeds = 150;
constexpr unsigned kReuseSeeds = 4;
#endif

TEST_CASE("B13 and more: chance in all orders") {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    Monkey(seed, native_dialect).run(3'000);
  }
}

TEST_CASE("B13: chance in all orders, where each id is used again at once") {
  // Six of each half are left: an id that comes back is among the next ones to be asked for again.
  constexpr std::size_t kFree = 6;
  for (unsigned seed = 1; seed <= kReuseSeeds; ++seed) {
    INFO("seed " << seed);
    Monkey monkey(seed, native_dialect, kClientLastId - kClientFirstId + 1 - kFree);
    monkey.run(6'000);
    CHECK(monkey.opened() > 200);
  }
}

TEST_CASE("chance in all orders, in Jami's dialect") {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    Monkey(seed, jami_dialect).run(3'000);
  }
}
