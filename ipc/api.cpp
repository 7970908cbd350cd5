// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/api.h"

#include <algorithm>

#include "ipc/api_admin.h"

namespace connd::ipc {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_alias_char(char c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '@';
}
bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

}  // namespace

Outcome<ListenerPeers> listener_peers(const Json& peers) {
  static const char* const kExpected = "peers: expected \"allowed\", \"any\" or an array of 1 to 64 devices";
  if (peers == "allowed") return ListenerPeers{};
  if (peers == "any") return ListenerPeers{.any = true, .devices = {}};
  if (!peers.is_array() || peers.empty() || peers.size() > kMaxListenerPeers) {
    return make_rpc_error(kInvalidParams, kExpected);
  }
  ListenerPeers out;
  for (const Json& peer : peers) {
    if (!peer.is_string()) return make_rpc_error(kInvalidParams, kExpected);
    out.devices.push_back(peer.get<std::string>());
    if (out.devices.back().empty() || out.devices.back().size() > kMaxNameBytes) {
      return make_rpc_error(kInvalidParams, kExpected);
    }
  }
  return out;
}

Outcome<void> check_alias(std::string_view name) {
  const bool hex_id = (name.size() == 40 || name.size() == 64) && std::all_of(name.begin(), name.end(), is_hex);
  const bool good = !name.empty() && name.size() <= kMaxNameBytes && is_letter(name[0]) &&
                    std::all_of(name.begin(), name.end(), is_alias_char);
  if (good && !hex_id) return {};
  return make_rpc_error(
      kInvalidParams,
      "name: expected a letter or '_', then letters, digits or any of ._-@, at most 128, and not an id");
}

}  // namespace connd::ipc
