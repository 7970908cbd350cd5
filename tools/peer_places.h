// SPDX-License-Identifier: GPL-3.0-or-later
/// PeerPlaces: places that peers take, of which one peer has at most half. A peer is a device, and an account is one
/// too: what its devices have together.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace connd::tools {

class PeerPlaces {
 public:
  explicit PeerPlaces(std::size_t all) : all_(all) {}

  [[nodiscard]] bool free() const { return taken_ < all_; }
  /// True while this peer has less than half; whether a place is free is another question.
  [[nodiscard]] bool may_have_more(const std::string& device, const std::string& account) const {
    return of(device, account) < all_ / 2;
  }
  /// Those of the device or of its account, whichever has more.
  [[nodiscard]] std::size_t of(const std::string& device, const std::string& account) const;
  /// `account` may be empty: it has none.
  void take(const std::string& device, const std::string& account);
  /// What was taken with the same two.
  void leave(const std::string& device, const std::string& account);

 private:
  [[nodiscard]] std::size_t of(const std::string& peer) const;
  void leave(const std::string& peer);

  std::size_t all_;
  std::size_t taken_ = 0;
  std::map<std::string, std::size_t> by_peer_;  // ids of devices and of accounts differ in length
};

}  // namespace connd::tools
