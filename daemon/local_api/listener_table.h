// SPDX-License-Identifier: GPL-3.0-or-later
/// ListenerTable: which local client takes which names.
///
/// An exact name wins over prefixes, a longer prefix over a shorter one. An exact name and the same text as a prefix
/// are two different things. Pure: no I/O, no clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include <sys/types.h>

#include "daemon/local_api/user_places.h"
#include "daemon/settings/reservation.h"
#include "ipc/api.h"
#include "ipc/fd_pass.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// A client of the control socket; never used again while the daemon runs. 0 is none.
using ClientNumber = std::uint64_t;
using ListenerNumber = std::uint64_t;

struct ListenerLimits {
  /// One program serves some names, a multiplexer of services some hundred.
  std::size_t per_client = 1'024;
  std::size_t in_all = 16'384;
  /// Names may be 65,000 bytes long: together they take no more than this.
  std::size_t name_bytes = std::size_t{16} << 20;
};

struct Listener {
  ListenerNumber number = 0;
  ClientNumber client = 0;
  ipc::PeerCredentials owner;
  std::string uri;
  bool prefix = false;
  ipc::ListenMode mode = ipc::ListenMode::kAuto;
  bool strict_end = false;
  bool attach = false;  ///< channels come with a token instead of an fd
  /// Whose channels it takes beside those of allowed peers.
  bool any_peer = false;
  std::vector<proto::DeviceId> peers;
  /// If there are any: whose channels it takes at all, of those that it would take.
  std::vector<proto::DeviceId> only_devices;
  std::vector<proto::AccountId> only_accounts;

  [[nodiscard]] bool takes_unknown(const proto::DeviceId& device) const;
  /// Neither trust nor `peers` lets a peer in that this refuses. `account` is that of the chain it has shown in TLS.
  [[nodiscard]] bool is_for(const proto::DeviceId& device, const proto::AccountId& account) const;
};

class ListenerTable {
 public:
  /// `places`: what one user may have of all listeners, and of the bytes of their names.
  explicit ListenerTable(ListenerLimits limits = {}, std::vector<PrefixReservation> reservations = {},
                         UserPlaces places = {})
      : limits_(limits), reservations_(std::move(reservations)), places_(places) {}

  struct Taken {
    uid_t owner;
  };
  enum class Refusal : std::uint8_t { kTooMany, kReserved, kUsersShare, kUsersShareOfNames };
  /// The new listener's number (that in `listener` is not looked at); or who has that name; or why there is none.
  using Added = std::variant<ListenerNumber, Taken, Refusal>;
  /// `administrator`: its user has no share to keep to.
  Added add(Listener listener, bool administrator = true);
  /// False when there is no such listener.
  bool remove(ListenerNumber number);
  /// Those of a client, at most `most` of them: false while there are more.
  bool remove_client(ClientNumber client, std::size_t most);
  /// From now on, for listeners that there are too: they stay, and take what they may.
  void set_reservations(std::vector<PrefixReservation> reservations) { reservations_ = std::move(reservations); }
  void set_places(UserPlaces places) { places_ = places; }

  /// Whether the longest reserved prefix of `uri`, if any, is reserved to this client.
  [[nodiscard]] bool permitted(std::string_view uri, const ipc::PeerCredentials& client) const;
  /// Who takes a channel of this name; null: nobody. Valid until the next change.
  [[nodiscard]] const Listener* match(std::string_view uri) const;
  [[nodiscard]] const Listener* find(ListenerNumber number) const;
  [[nodiscard]] std::size_t size() const { return by_number_.size(); }
  [[nodiscard]] std::size_t count_of_user(uid_t uid) const;
  [[nodiscard]] bool has_any(ClientNumber client) const { return of_client_.contains(client); }
  [[nodiscard]] const ListenerLimits& limits() const { return limits_; }

 private:
  struct Used {
    std::size_t listeners = 0;
    std::size_t name_bytes = 0;
  };
  [[nodiscard]] std::optional<Refusal> refusal(const Listener& listener, bool administrator) const;

  /// Names in the order of bytes: the prefixes of a name stand before it.
  using Names = std::map<std::string, ListenerNumber, std::less<>>;

  const ListenerLimits limits_;
  std::vector<PrefixReservation> reservations_;
  std::unordered_map<ListenerNumber, Listener> by_number_;
  Names exact_;
  Names prefixes_;
  UserPlaces places_;
  std::unordered_map<ClientNumber, std::set<ListenerNumber>> of_client_;
  std::unordered_map<uid_t, Used> of_uid_;
  std::size_t name_bytes_ = 0;
  ListenerNumber next_ = 1;
};

}  // namespace connd::daemon
