// SPDX-License-Identifier: GPL-3.0-or-later
/// Two muxes joined in memory: each direction is a queue of bytes that a test lets through in pieces of its choosing.
/// Virtual time; nothing happens by itself.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/mux.h"

namespace connd::tests {

/// One end: a mux, what its app wants to send, what came, and all events in order.
class MuxEnd {
 public:
  MuxEnd(proto::MuxConfig config, proto::TimePoint& now,
         std::unique_ptr<proto::Dialect> dialect = proto::native_dialect())
      : now_(now), mux(std::make_unique<proto::Mux>(config, std::move(dialect), handles, now)) {}

  /// Takes `bytes`, keeps the events. The error that ended the connection stays in `error`.
  void receive(proto::Bytes bytes) {
    if (error) return;
    const proto::ByteVector copy(bytes.begin(), bytes.end());  // exact size, so that ASan sees an overrun
    mux->feed(copy, now_);
    for (;;) {
      auto event = mux->next_event(now_);
      if (!event) {
        error = event.error();
        return;
      }
      if (!*event) return;
      on_event(**event);
    }
  }

  /// Sends up to all that the app has and credit allows, and all control, into `wire`.
  void flush(proto::ByteVector& wire) {
    if (error) return;
    do {
      mux->flush_control();
      while (mux->output().size() < proto::Mux::kOutputTarget) {
        const auto turn = mux->next_sender();
        if (!turn) break;
        serve(*turn);
      }
      wire.insert(wire.end(), mux->output().begin(), mux->output().end());
      mux->output_taken();
    } while (mux->has_output());
  }

  void write(proto::ChannelHandle channel, const std::string& bytes) {
    to_send[channel] += bytes;
    mux->set_ready(channel, true);
  }

  struct Seen {
    proto::MuxEvent::Kind kind;
    proto::ChannelHandle channel;
    proto::Reason reason;
    std::string name;
    std::string text;
  };

  /// The events of a kind, in order.
  [[nodiscard]] std::vector<Seen> seen(proto::MuxEvent::Kind kind) const {
    std::vector<Seen> out;
    std::copy_if(events.begin(), events.end(), std::back_inserter(out), [&](const Seen& s) { return s.kind == kind; });
    return out;
  }

 private:
  void serve(const proto::Mux::Turn& turn) {
    std::string& pending = to_send[turn.channel];
    const std::size_t n = std::min(turn.bytes, pending.size());
    if (n > 0) {
      std::copy_n(pending.begin(), n, mux->prepare(turn.bytes).begin());
      mux->commit(turn.channel, n);
      pending.erase(0, n);
    }
    if (pending.empty()) mux->set_ready(turn.channel, false);
  }

  void on_event(const proto::MuxEvent& event) {
    if (event.kind == proto::MuxEvent::Kind::kData) {
      received[event.channel].append(event.data.begin(), event.data.end());
      if (take_at_once) mux->consumed(event.channel, event.data.size(), now_);
      return;
    }
    events.push_back({event.kind, event.channel, event.reason, event.name, event.text});
    if (accept_all && event.kind == proto::MuxEvent::Kind::kRequested) mux->accept(event.channel, now_);
  }

  proto::TimePoint& now_;

 public:
  proto::HandleSource handles;
  std::unique_ptr<proto::Mux> mux;
  std::map<proto::ChannelHandle, std::string> to_send;
  std::map<proto::ChannelHandle, std::string> received;
  std::vector<Seen> events;
  std::error_code error;
  bool accept_all = true;
  bool take_at_once = true;
};

class MuxPair {
 public:
  using MakeDialect = std::unique_ptr<proto::Dialect> (*)();
  explicit MuxPair(proto::MuxConfig client_config = {}, proto::MuxConfig server_config = {},
                   MakeDialect dialect = proto::native_dialect)
      : client(with_side(client_config, proto::MuxSide::kClient), now, dialect()),
        server(with_side(server_config, proto::MuxSide::kServer), now, dialect()) {}

  /// Flushes both ends and lets everything through until nothing moves.
  void settle() {
    do {
      client.flush(to_server);
      server.flush(to_client);
      deliver_to_server(to_server.size());
      deliver_to_client(to_client.size());
    } while (!to_server.empty() || !to_client.empty() || client.mux->has_output() || server.mux->has_output());
  }
  void deliver_to_server(std::size_t n) { deliver(to_server, server, n); }
  void deliver_to_client(std::size_t n) { deliver(to_client, client, n); }

  proto::TimePoint now{proto::Duration{1'000'000}};
  MuxEnd client;
  MuxEnd server;
  proto::ByteVector to_server;
  proto::ByteVector to_client;

 private:
  static proto::MuxConfig with_side(proto::MuxConfig config, proto::MuxSide side) {
    config.side = side;
    return config;
  }
  static void deliver(proto::ByteVector& wire, MuxEnd& end, std::size_t n) {
    n = std::min(n, wire.size());
    const proto::ByteVector part(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(n));
    wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(n));
    end.receive(part);
  }
};

/// A request that goes out, or the test fails.
inline proto::ChannelHandle open(MuxEnd& end, const std::string& name, proto::TimePoint now, bool unique = false) {
  auto opened = end.mux->open(name, unique, now);
  REQUIRE(opened.ok());
  return opened->channel;
}

struct BothEnds {
  proto::ChannelHandle client;
  proto::ChannelHandle server;
};
/// The pair's first channel, opened by the client, after which something has gone both ways.
inline BothEnds open_and_talk(MuxPair& pair, const std::string& name) {
  using Kind = proto::MuxEvent::Kind;
  const proto::ChannelHandle a = open(pair.client, name, pair.now);
  pair.settle();
  REQUIRE(pair.client.seen(Kind::kOpened).size() == 1);
  const auto requested = pair.server.seen(Kind::kRequested);
  REQUIRE(requested.size() == 1);
  CHECK(requested[0].name == name);
  const proto::ChannelHandle b = requested[0].channel;
  pair.client.write(a, std::string(300'000, 'x'));
  pair.server.write(b, "hello");
  pair.settle();
  CHECK(pair.server.received[b] == std::string(300'000, 'x'));
  CHECK(pair.client.received[a] == "hello");
  return {a, b};
}

}  // namespace connd::tests
