// SPDX-License-Identifier: GPL-3.0-or-later
/// PublicAddresses: at which addresses other nodes of the DHT see this machine.
///
/// Each node says so with each of its answers, and any may lie: nothing but lines that tell a peer's relay whom to let
/// in is made of it. OpenDHT counts what it is told and never forgets, so after a change of networks the former address
/// has the most votes for a long time: what is new since then goes first. (It keeps 32 pairs of address and port.
/// Behind a NAT that takes another port for each node these may all be of the former network; then the former address
/// stays until the node is made anew.)
///
/// A value; on one thread; no clock.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace connd::daemon {

class PublicAddresses {
 public:
  /// Two of each family: TCP may leave by another one than UDP, and the second may be the true one when nodes lie.
  static constexpr std::size_t kMaxOfFamily = 2;

  /// What OpenDHT has heard, numeric, the address with the most votes first; one stands there once for each port.
  void told(std::vector<std::string> by_votes) { told_ = std::move(by_votes); }
  /// Addresses of this machine have changed.
  void network_changed() { former_ = told_; }

  /// The likeliest first, each once. Of each family the one with most votes among those that are new, or else among
  /// all, and the one that stands there most often.
  [[nodiscard]] std::vector<std::string> best() const {
    std::vector<std::string> out;
    for (const bool ipv6 : {false, true}) {
      for (std::string& address : best_of(ipv6)) out.push_back(std::move(address));
    }
    return out;
  }

 private:
  static bool is_ipv6(const std::string& address) { return address.find(':') != std::string::npos; }
  [[nodiscard]] bool is_former(const std::string& address) const {
    return std::find(former_.begin(), former_.end(), address) != former_.end();
  }

  [[nodiscard]] std::vector<std::string> best_of(bool ipv6) const {
    std::vector<std::string> of_family;
    for (const std::string& address : told_) {
      if (is_ipv6(address) == ipv6) of_family.push_back(address);
    }
    if (of_family.empty()) return {};
    const auto is_new = [this](const std::string& address) { return !is_former(address); };
    auto first = std::find_if(of_family.begin(), of_family.end(), is_new);
    if (first == of_family.end()) first = of_family.begin();
    std::vector<std::string> out{*first};
    const auto times = [&](const std::string& address) {
      return std::count(of_family.begin(), of_family.end(), address);
    };
    const std::string* most = nullptr;
    for (const std::string& address : of_family) {
      if (address != out.front() && (most == nullptr || times(address) > times(*most))) most = &address;
    }
    if (most != nullptr) out.push_back(*most);
    return out;
  }

  std::vector<std::string> told_;
  std::vector<std::string> former_;
};

}  // namespace connd::daemon
