// SPDX-License-Identifier: GPL-3.0-or-later
/// PendingOpens: the local side's opens that have no answer yet, and how much of what is shared each user has with
/// them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <sys/types.h>

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/listener_table.h"
#include "ipc/message.h"

namespace connd::daemon {

struct PendingOpen {
  ClientNumber client = 0;
  uid_t uid = static_cast<uid_t>(-1);
  ipc::Json id;      ///< of the call, for channel.cancel
  std::string peer;  ///< or account
  std::size_t name_bytes = 0;
  OpenNumber open = 0;  ///< 0 until the manager has said it
};

class PendingOpens {
 public:
  using Key = std::uint64_t;
  /// Of one user.
  struct Use {
    std::size_t opens = 0;
    std::size_t name_bytes = 0;
    std::unordered_map<std::string, std::size_t> to;  ///< by peer or account
  };

  Key add(PendingOpen open) {
    const Key key = next_++;
    of_client_[open.client].insert(key);
    Use& use = of_user_[open.uid];
    ++use.opens;
    use.name_bytes += open.name_bytes;
    ++use.to[open.peer];
    opens_.emplace(key, std::move(open));
    return key;
  }
  /// The manager's number; nothing when the open has had its answer meanwhile.
  void set_number(Key key, OpenNumber number) {
    if (const auto it = opens_.find(key); it != opens_.end()) it->second.open = number;
  }
  [[nodiscard]] const PendingOpen* find(Key key) const {
    const auto it = opens_.find(key);
    return it == opens_.end() ? nullptr : &it->second;
  }
  /// The client's open of this call; of several one.
  [[nodiscard]] const PendingOpen* find(ClientNumber client, const ipc::Json& id) const {
    const auto its = of_client_.find(client);
    if (its == of_client_.end()) return nullptr;
    for (const Key key : its->second) {
      if (const PendingOpen& open = opens_.at(key); open.id == id) return &open;
    }
    return nullptr;
  }
  /// Any one of a client's.
  [[nodiscard]] std::optional<Key> any_of(ClientNumber client) const {
    const auto its = of_client_.find(client);
    if (its == of_client_.end()) return std::nullopt;
    return *its->second.begin();
  }
  /// The open, taken out; nothing when there is none.
  std::optional<PendingOpen> take(Key key) {
    auto entry = opens_.extract(key);
    if (entry.empty()) return std::nullopt;
    PendingOpen open = std::move(entry.mapped());
    const auto its = of_client_.find(open.client);
    its->second.erase(key);
    if (its->second.empty()) of_client_.erase(its);
    const auto user = of_user_.find(open.uid);
    Use& use = user->second;
    use.name_bytes -= open.name_bytes;
    const auto to = use.to.find(open.peer);
    if (--to->second == 0) use.to.erase(to);
    if (--use.opens == 0) of_user_.erase(user);
    return open;
  }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const {
    const auto its = of_client_.find(client);
    return its == of_client_.end() ? 0 : its->second.size();
  }
  [[nodiscard]] const Use& of_user(uid_t uid) const {
    static const Use none;
    const auto user = of_user_.find(uid);
    return user == of_user_.end() ? none : user->second;
  }
  [[nodiscard]] std::size_t size() const { return opens_.size(); }

 private:
  std::unordered_map<Key, PendingOpen> opens_;
  std::unordered_map<ClientNumber, std::unordered_set<Key>> of_client_;
  std::unordered_map<uid_t, Use> of_user_;
  Key next_ = 1;
};

}  // namespace connd::daemon
