// SPDX-License-Identifier: GPL-3.0-or-later
/// Whatever the gate lets through must do OpenDHT no harm: a node of OpenDHT behind the gate, with searches, listens
/// and values of its own and four nodes around it, who say what the input says.
///
/// The library is not instrumented, so that the mutator has to know what messages look like.
#include <opendht.h>

#include <cstring>
#include <memory>
#include <random>
#include <utility>

#include <opendht/dht.h>
#include <opendht/network_utils.h>
#include <opendht/securedht.h>

#include "proto/dht_gate.h"
#include "proto/dht_walker.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/dht_entry.h"

using namespace connd;
using namespace connd::proto;

// A node seeds its generator with 600 numbers of the processor's, which takes ten times as long as all else. The same
// ones for each input make what it finds repeatable, too.
namespace {
std::uint32_t chance = 0;
}
std::random_device::result_type std::random_device::_M_getval() {
  return chance = chance * 1'664'525U + 1'013'904'223U;
}

namespace {

constexpr unsigned kNodes = 4;

dht::SockAddr sock_addr_of(const DhtAddress& address) {
  dht::SockAddr out;
  out.setFamily(AF_INET);
  std::memcpy(&out.getIPv4().sin_addr, address.ip.data(), 4);
  out.setPort(address.port);
  return out;
}

dht::InfoHash hash_of(std::uint8_t fill) {
  dht::InfoHash out;
  std::fill(out.begin(), out.end(), fill);
  return out;
}

/// What OpenDHT has asked the nodes, and given them for a token.
struct Asked {
  std::vector<std::uint32_t> tids[kNodes];
  ByteVector token[kNodes];
  ByteVector sid[kNodes];
};

class Wire {
 public:
  Wire() : gate(config()) {}
  DhtGate gate;
  TimePoint now{};
  Asked asked;
  std::uint32_t pinged[kNodes] = {};

  void send(const DhtAddress& to, Bytes datagram) {
    if (gate.on_send(to, datagram, now).what == DhtSend::What::kSend) went(to, datagram);
    for (const DhtDatagram& more : gate.take_outgoing()) went(more.address, more.bytes);
  }
  void went(const DhtAddress& to, Bytes datagram) {
    const unsigned node = to.port - 4222U;
    DhtMessage message;
    if (node >= kNodes || walk_dht_message(datagram, message) != DhtFault::kNone) return;
    if (message.is_request() && asked.tids[node].size() < 256) asked.tids[node].push_back(message.tid);
    if (message.kind == DhtKind::kPing) pinged[node] = message.tid;
    // The number of a listen: what is told of its values has it for its id, or names it.
    if (const Bytes sid = fuzz::behind(datagram, fuzz::kSid, 4); message.kind == DhtKind::kListen && !sid.empty()) {
      asked.sid[node].assign(sid.begin(), sid.end());
      asked.tids[node].push_back(ByteReader(sid).u32());
    }
    if (const Bytes token = fuzz::behind(datagram, fuzz::kToken, 32); !token.empty()) {
      asked.token[node].assign(token.begin(), token.end());
    }
  }

 private:
  static DhtGateConfig config() {
    DhtGateConfig out;
    out.node_id.fill(0x42);
    out.random = [n = 0x1234567U]() mutable { return n = n * 1'664'525U + 1'013'904'223U; };
    return out;
  }
};

class Socket : public dht::net::DatagramSocket {
 public:
  explicit Socket(Wire& wire) : wire_(wire) { bound_ = sock_addr_of({{}, {192, 0, 2, 99}, 4221}); }
  int sendTo(const dht::SockAddr& to, const std::uint8_t* data, std::size_t size, bool) override {
    DhtAddress address;
    std::memcpy(address.ip.data(), &to.getIPv4().sin_addr, 4);
    address.port = to.getPort();
    wire_.send(address, {data, size});
    return 0;
  }
  bool hasIPv4() const override { return true; }
  bool hasIPv6() const override { return false; }
  const dht::SockAddr& getBoundRef(sa_family_t) const override { return bound_; }
  void stop() override {}

 private:
  Wire& wire_;
  dht::SockAddr bound_;
};

class Node {
 public:
  Node() {
    dht::Config config;
    config.node_id = hash_of(0x42);
    config.max_req_per_sec = -1;
    config.max_peer_req_per_sec = -1;
    config.max_store_size = 64 * 1024;  // so that it is full at times
    auto node = std::make_unique<dht::Dht>(std::make_unique<Socket>(wire_), config, dht::Sp<dht::Logger>());
    dht_ = std::make_unique<dht::SecureDht>(std::move(node), dht::SecureDhtConfig{});
    // As the daemon has them: a value that is edited keeps its length (daemon/dht/dht_setup.h).
    dht_->registerType(
        dht::ValueType(3, "three", std::chrono::minutes(10), dht::ValueType::DEFAULT_STORE_POLICY,
                       [](dht::InfoHash, const dht::Sp<dht::Value>& old, dht::Sp<dht::Value>& value,
                          const dht::InfoHash&, const dht::SockAddr&) { return old->size() == value->size(); }));
    dht_->registerType(dht::ValueType::USER_DATA);
    dht_->registerType(dht::CERTIFICATE_TYPE);  // as the gate's own values are, which must not be kept
    for (std::uint8_t i = 0; i < 2; ++i) {
      dht_->insertNode(hash_of(static_cast<std::uint8_t>(0x11 * (i + 1))), sock_addr_of(fuzz::address_of_node(i)));
    }
    const auto taken = [](const std::vector<dht::Sp<dht::Value>>& values) {
      for (const auto& value : values) (void)value->getPacked();
      return true;
    };
    const dht::InfoHash key = hash_of(0x55);
    dht_->get(key, taken, dht::DoneCallback{});
    dht_->listen(key, [taken](const std::vector<dht::Sp<dht::Value>>& values, bool) { return taken(values); });
    dht_->put(key, std::make_shared<dht::Value>(dht::Blob(20, 1)), dht::DoneCallback{}, dht::time_point::max(), true);
    dht_->query(
        hash_of(0x56), [](const std::vector<dht::Sp<dht::FieldValueIndex>>&) { return true; }, dht::DoneCallback{},
        dht::Query(dht::Select().field(dht::Value::Field::Id)));
    // Its first requests are out when the input begins.
    for (int i = 0; i < 3; ++i) {
      now_ += std::chrono::milliseconds(50);
      wire_.now += Duration(50);
      periodic({}, {});
    }
  }

  void step(const fuzz::DhtStep& step) {
    for (int left = step.pause_ms(); left > 0; left -= fuzz::DhtStep::kMaxStepMs) {
      const int pause = std::min(left, fuzz::DhtStep::kMaxStepMs);
      now_ += std::chrono::milliseconds(pause);
      wire_.now += Duration(pause);
      if (wire_.now >= wire_.gate.next_deadline()) wire_.gate.on_timeout(wire_.now);
      periodic({}, {});
    }
    const unsigned n = step.node();
    ByteVector datagram = step.datagram;
    if (step.is_answer() && !wire_.asked.tids[n].empty()) {
      DhtMessage message;
      (void)walk_dht_message(datagram, message);
      const std::uint32_t tid = wire_.asked.tids[n][message.tid % wire_.asked.tids[n].size()];
      const std::uint8_t bytes[] = {static_cast<std::uint8_t>(tid >> 24), static_cast<std::uint8_t>(tid >> 16),
                                    static_cast<std::uint8_t>(tid >> 8), static_cast<std::uint8_t>(tid)};
      if (!message.is_request()) fuzz::patch(datagram, fuzz::kTid, bytes);
      fuzz::patch(datagram, fuzz::kSid, wire_.asked.sid[n]);
    }
    if (step.has_our_token()) fuzz::patch(datagram, fuzz::kToken, wire_.asked.token[n]);
    receive(fuzz::address_of_node(n), datagram);
    if (step.proves_itself() && wire_.pinged[n] != 0) {
      receive(fuzz::address_of_node(n), fuzz::pong(n, std::exchange(wire_.pinged[n], 0)));
    }
  }

 private:
  void receive(const DhtAddress& from, Bytes datagram) {
    const DhtReceived received = wire_.gate.on_received(from, datagram, wire_.now);
    for (const DhtDatagram& more : wire_.gate.take_outgoing()) wire_.went(more.address, more.bytes);
    if (received.what == DhtReceived::What::kPass) periodic(datagram, from);
    for (const DhtDatagram& whole : wire_.gate.take_incoming()) periodic(whole.bytes, whole.address);
  }

  void periodic(Bytes datagram, const DhtAddress& from) {
    // What the library throws out of this would end its thread.
    (void)dht_->periodic(datagram.data(), datagram.size(), sock_addr_of(from), now_);
  }

  Wire wire_;
  dht::time_point now_ = dht::clock::now();
  std::unique_ptr<dht::SecureDht> dht_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chance = 1;
  Node node;
  for (const fuzz::DhtStep& step : fuzz::parse_script({data, size})) node.step(step);
  return 0;
}
