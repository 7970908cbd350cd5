// SPDX-License-Identifier: GPL-3.0-or-later
/// Datagrams of the DHT from anyone: through the gate, which must keep its bounds, and pass nothing but what is in the
/// grammar and has no parts.
#include <cstring>

#include "proto/dht_discovery.h"
#include "proto/dht_gate.h"
#include "proto/dht_limits.h"
#include "proto/dht_walker.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/dht_entry.h"

using namespace connd;
using namespace connd::proto;

namespace {

constexpr unsigned kNodes = 4;

/// The gate, and what went each way, for each of the nodes.
class Run {
 public:
  Run() : gate_(config()) {}

  void step(const fuzz::DhtStep& step) {
    now_ += Duration(step.pause_ms());
    if (now_ >= gate_.next_deadline()) gate_.on_timeout(now_);
    take_output();
    const DhtAddress from = fuzz::address_of_node(step.node());
    // What comes is also what OpenDHT could send.
    if (step.has_our_token()) {
      if (gate_.on_send(from, step.datagram, now_).what == DhtSend::What::kSend)
        sent_[step.node()] += step.datagram.size();
    } else {
      const DhtReceived received = gate_.on_received(from, step.datagram, now_);
      came_[step.node()] += step.datagram.size();
      if (received.what == DhtReceived::What::kPass) check_passed(step.datagram);
      FUZZ_CHECK((received.what == DhtReceived::What::kDropped) == (received.fault != DhtFault::kNone));
    }
    for (const DhtDatagram& whole : gate_.take_incoming()) check_passed(whole.bytes);
    take_output();
    if (step.proves_itself() && pinged_[step.node()] != 0) answer_ping(step.node());
    check_bounds();
  }

 private:
  static DhtGateConfig config() {
    DhtGateConfig out;
    out.node_id.fill(0x42);
    out.random = [n = 0x1234567U]() mutable { return n = n * 1'664'525U + 1'013'904'223U; };
    return out;
  }

  static unsigned node_of(const DhtAddress& address) { return address.port - 4222U; }

  void check_passed(Bytes message) {
    FUZZ_CHECK(message.size() <= kMaxDhtAssembled);
    DhtMessage walked;
    // An assembled one may be longer than a datagram, and is otherwise the same.
    if (message.size() <= kMaxDhtDatagram) {
      FUZZ_CHECK(walk_dht_message(message, walked) == DhtFault::kNone);
      FUZZ_CHECK(walked.kind != DhtKind::kValueData && walked.sized.empty() && walked.bad_values.empty());
    }
  }

  void answer_ping(unsigned node) {
    const ByteVector pong = fuzz::pong(node, pinged_[node]);
    pinged_[node] = 0;
    FUZZ_CHECK(gate_.on_received(fuzz::address_of_node(node), pong, now_).what != DhtReceived::What::kDropped);
    came_[node] += pong.size();
    proved_[node] = true;
    take_output();
  }

  void take_output() {
    for (const DhtDatagram& datagram : gate_.take_outgoing()) {
      DhtMessage walked;
      const unsigned node = node_of(datagram.address);
      if (walk_dht_message(datagram.bytes, walked) == DhtFault::kNone && walked.kind == DhtKind::kPing) {
        pinged_[node] = walked.tid;
      }
      sent_[node] += datagram.bytes.size();
    }
  }

  void check_bounds() {
    const DhtGateSizes sizes = gate_.sizes();
    FUZZ_CHECK(sizes.part_records <= 2 * kMaxPartRecords);
    FUZZ_CHECK(sizes.part_bytes <= kMaxAskedPartBytes + kMaxUnaskedPartBytes);
    FUZZ_CHECK(sizes.held_bytes <= kMaxHeldDhtBytes);
    FUZZ_CHECK(sizes.addresses + sizes.proved <= kNodes);
  }

  DhtGate gate_;
  TimePoint now_{};
  std::size_t came_[kNodes] = {};
  std::size_t sent_[kNodes] = {};
  std::uint32_t pinged_[kNodes] = {};
  bool proved_[kNodes] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(data, size);
  Run run;
  for (const fuzz::DhtStep& step : fuzz::parse_script(input)) run.step(step);
  std::optional<DhtAnnouncement> announcement;
  (void)walk_dht_discovery(input, announcement);
  (void)walk_dht_value(input);
  (void)is_fair_public_key(input);
  return 0;
}
