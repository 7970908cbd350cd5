// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_names.h"

#include <algorithm>
#include <utility>

#include "proto/dht_limits.h"
#include "proto/dht_msgpack.h"

namespace connd::proto {
namespace {

constexpr std::size_t kIdBytes = 20;

std::size_t node_bytes(bool ipv6) {
  return ipv6 ? kDhtNode6Bytes : kDhtNode4Bytes;
}

DhtAddress address_of(Bytes node, bool ipv6) {
  DhtAddress out;
  out.family = ipv6 ? DhtAddress::Family::kIpv6 : DhtAddress::Family::kIpv4;
  const std::size_t end = node_bytes(ipv6);
  std::copy(node.begin() + kIdBytes, node.begin() + static_cast<std::ptrdiff_t>(end) - 2, out.ip.begin());
  out.port = static_cast<std::uint16_t>(node[end - 2] << 8 | node[end - 1]);
  return out;
}

/// Addresses of no host: OpenDHT judges these by itself. Of a link-local one the link is not known.
bool can_be_pinged(const DhtAddress& address) {
  if (address.port == 0) return false;
  if (address.family == DhtAddress::Family::kIpv4) return address.ip[0] != 0 && address.ip[0] < 224;
  const bool link_local = address.ip[0] == 0xfe && (address.ip[1] & 0xc0) == 0x80;
  return address.ip[0] != 0xff && !link_local;
}

/// As OpenDHT writes it, of any length that can be.
ByteVector bin_of(Bytes nodes) {
  ByteVector out;
  if (nodes.size() < 256) {
    append_msgpack_bin(out, nodes);
    return out;
  }
  out = {0xc5, static_cast<std::uint8_t>(nodes.size() >> 8), static_cast<std::uint8_t>(nodes.size())};
  out.insert(out.end(), nodes.begin(), nodes.end());
  return out;
}

}  // namespace

DhtBudget::Named DhtNames::name(Bytes node, bool ipv6, DhtBudget& budget, TimePoint now) const {
  if (std::equal(own_id_.begin(), own_id_.end(), node.begin())) return DhtBudget::Named::kLives;
  const DhtAddress address = address_of(node, ipv6);
  return can_be_pinged(address) ? budget.on_named(address, now) : DhtBudget::Named::kLives;
}

DhtBudget::Named DhtNames::ask(Bytes datagram, const std::vector<Nodes>& named, DhtBudget& budget,
                               TimePoint now) const {
  DhtBudget::Named out = DhtBudget::Named::kLives;
  for (const Nodes& nodes : named) {
    const std::size_t step = node_bytes(nodes.ipv6);
    for (std::size_t i = 0; i < nodes.nodes.length; i += step) {
      // All of them, so that all are asked at once.
      const auto one = name(datagram.subspan(nodes.nodes.offset + i, step), nodes.ipv6, budget, now);
      if (one == DhtBudget::Named::kAsked || out == DhtBudget::Named::kLives) out = one;
    }
  }
  return out;
}

ByteVector DhtNames::without_silent(Bytes datagram, const std::vector<Nodes>& named, DhtBudget& budget, TimePoint now) {
  std::vector<DhtSpan> spans;
  std::vector<ByteVector> kept;
  for (const Nodes& nodes : named) {
    ByteVector lives;
    const std::size_t step = node_bytes(nodes.ipv6);
    for (std::size_t i = 0; i < nodes.nodes.length; i += step) {
      const Bytes node = datagram.subspan(nodes.nodes.offset + i, step);
      if (name(node, nodes.ipv6, budget, now) != DhtBudget::Named::kLives) {
        ++cut_;
        budget.on_left_out(address_of(node, nodes.ipv6));
      } else {
        lives.insert(lives.end(), node.begin(), node.end());
      }
    }
    spans.push_back(nodes.at);
    kept.push_back(bin_of(lives));
  }
  return splice(datagram, spans, {kept.begin(), kept.end()});
}

bool DhtNames::on_answer(const DhtAddress& from, Bytes datagram, const DhtMessage& message, DhtBudget& budget,
                         TimePoint now) {
  std::vector<Nodes> named;
  for (const DhtNamedNodes& one : message.named) {
    named.push_back(
        {one.ipv6, one.at, {static_cast<std::size_t>(one.nodes.data() - datagram.data()), one.nodes.size()}});
  }
  std::sort(named.begin(), named.end(), [](const Nodes& a, const Nodes& b) { return a.at.offset < b.at.offset; });
  const DhtBudget::Named known = ask(datagram, named, budget, now);
  if (known == DhtBudget::Named::kLives) return false;
  const bool room = waiting_.size() < kMaxWaitingAnswers && waiting_bytes_ + datagram.size() <= kMaxWaitingAnswerBytes;
  if (known == DhtBudget::Named::kSilent || !room) {
    output_.push_back({from, without_silent(datagram, named, budget, now)});
    return true;
  }
  waiting_.push_back({{from, {datagram.begin(), datagram.end()}}, std::move(named), now + kNamedPatience});
  waiting_bytes_ += datagram.size();
  return true;
}

void DhtNames::release(DhtBudget& budget, TimePoint now) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const ByteVector& bytes = it->datagram.bytes;
    const DhtBudget::Named known = ask(bytes, it->named, budget, now);
    if (known == DhtBudget::Named::kAsked && now < it->until) {
      ++it;
      continue;
    }
    waiting_bytes_ -= bytes.size();
    if (known == DhtBudget::Named::kLives) {
      output_.push_back(std::move(it->datagram));
    } else {
      output_.push_back({it->datagram.address, without_silent(bytes, it->named, budget, now)});
    }
    it = waiting_.erase(it);
  }
}

void DhtNames::clear() {
  waiting_.clear();
  waiting_bytes_ = 0;
}

std::vector<DhtDatagram> DhtNames::take_output() {
  return std::exchange(output_, {});
}

TimePoint DhtNames::next_deadline() const {
  return waiting_.empty() ? kNever : waiting_.front().until;
}

}  // namespace connd::proto
