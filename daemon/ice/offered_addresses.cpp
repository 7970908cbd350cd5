// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/offered_addresses.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "daemon/system/link_table.h"

namespace connd::daemon {
namespace {

// RFC 8445, 5.1.2.2 and RFC 6544, 4.2: type preference of server-reflexive candidates, direction preference of active
// ones of these.
constexpr std::uint32_t kReflexivePreference = 100;
constexpr std::uint32_t kActivePreference = 4;
constexpr std::uint32_t kMaxOtherPreference = 8'191;
constexpr std::uint32_t kComponent = 1;

template <class List, class Item>
bool contains(const List& list, const Item& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// What is offered before other addresses is lower: the way to the internet, then each interface's first.
std::vector<std::string> of_family(const std::vector<InterfaceAddress>& all, bool ipv6, const std::string& source) {
  std::vector<std::pair<int, std::string>> ranked;
  std::map<std::string, int> seen;
  for (const InterfaceAddress& address : all) {
    if (address.ipv6 != ipv6) continue;
    const int rank = ++seen[address.interface];
    ranked.emplace_back(address.text == source ? 0 : rank, address.text);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (auto& [rank, text] : ranked) out.push_back(std::move(text));
  return out;
}

std::vector<std::string> bounded(const std::vector<InterfaceAddress>& chosen, const InternetSources& internet) {
  std::vector<std::string> v4 = of_family(chosen, false, internet.v4);
  std::vector<std::string> v6 = of_family(chosen, true, internet.v6);
  const std::size_t left_for_v4 = kMaxOfferedAddresses - std::min(v6.size(), kMaxOfferedOfFamily);
  if (v4.size() > left_for_v4) v4.resize(left_for_v4);
  if (v6.size() > kMaxOfferedAddresses - v4.size()) v6.resize(kMaxOfferedAddresses - v4.size());
  std::move(v6.begin(), v6.end(), std::back_inserter(v4));
  return v4;
}

}  // namespace

std::vector<std::string> choose_addresses(const AddressFacts& facts, const AddressRules& rules) {
  std::vector<InterfaceAddress> first;
  std::vector<InterfaceAddress> local;  // of use where there is nothing else
  std::vector<InterfaceAddress> loopback;
  for (const InterfaceAddress& address : facts.addresses) {
    if (!rules.interfaces.empty()) {
      if (contains(rules.interfaces, address.interface)) first.push_back(address);
      continue;
    }
    const bool leads_out = address.text == facts.internet.v4 || address.text == facts.internet.v6;
    if (address.loopback) {
      loopback.push_back(address);
    } else if (!leads_out && (address.link_local || facts.is_guest_bridge(address.interface))) {
      local.push_back(address);
    } else {
      first.push_back(address);
    }
  }
  if (!rules.interfaces.empty()) return bounded(first, facts.internet);
  if (first.empty()) first = std::move(local);
  if (rules.allow_loopback || first.empty()) std::move(loopback.begin(), loopback.end(), std::back_inserter(first));
  return bounded(first, facts.internet);
}

bool OfferedAddresses::has_loopback() const {
  return std::any_of(local.begin(), local.end(), [](const std::string& own) { return is_loopback(own); });
}

bool OfferedAddresses::has_link_local() const {
  return std::any_of(local.begin(), local.end(), [](const std::string& own) { return is_link_local(own); });
}

bool OfferedAddresses::may_wait(const proto::Candidate& remote) const {
  if (remote.tcp_type == proto::TcpType::kActive || is_public(remote.address)) return false;
  return std::any_of(local.begin(), local.end(), [&remote](const std::string& own) {
    return is_public(own) && (own.find(':') != std::string::npos) == remote.is_ipv6();
  });
}

OfferedAddresses offered_addresses(const AddressRules& rules) {
  const LinkTable links = LinkTable::of_this_machine();
  AddressFacts facts{interface_addresses().value_or(std::vector<InterfaceAddress>()), internet_sources(),
                     [&links](const std::string& interface) { return links.is_guest_bridge(interface); }};
  OfferedAddresses out;
  out.local = choose_addresses(facts, rules);
  if (rules.interfaces.empty()) return out;
  out.public_v4 = contains(out.local, facts.internet.v4);
  out.public_v6 = contains(out.local, facts.internet.v6);
  return out;
}

std::vector<proto::Candidate> public_candidates(const std::vector<std::string>& addresses,
                                                const OfferedAddresses& offered) {
  std::vector<proto::Candidate> out;
  for (const std::string& address : addresses) {
    if (out.size() >= kMaxPublicAddresses) break;
    proto::Candidate candidate;
    candidate.address = address;
    if (!is_public(address) || contains(offered.local, address)) continue;
    if (candidate.is_ipv6() ? !offered.public_v6 : !offered.public_v4) continue;
    const auto other = static_cast<std::uint32_t>(kMaxOtherPreference - out.size());
    candidate.foundation = "p" + std::to_string(out.size() + 1);  // libnice's are numbers
    candidate.priority = (kReflexivePreference << 24) | (((kActivePreference << 13) | other) << 8) | (256 - kComponent);
    candidate.port = proto::Candidate::kDiscardPort;
    candidate.type = proto::CandidateType::kServerReflexive;
    candidate.tcp_type = proto::TcpType::kActive;
    out.push_back(std::move(candidate));
  }
  return out;
}

}  // namespace connd::daemon
