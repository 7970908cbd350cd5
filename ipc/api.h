// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The local API's methods and notifications about channels and listeners as structs; ipc/PROTOCOL.md says what each
/// means. The rest (status, connections, trust, policy, events) is in ipc/api_admin.h.
///
/// Both ends use them with read_params, read_result and write_members of ipc/members.h. `fds: 1` is not a member here:
/// whoever sends an fd adds it to the object, FdChannel takes it off again.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/members.h"

namespace connd::ipc {

inline constexpr Bounds kUriBounds{0, kMaxUriBytes};
/// A device id of 64 hex digits, or an alias.
inline constexpr Bounds kPeerBounds{1, kMaxNameBytes};
inline constexpr Bounds kNameBounds{1, kMaxNameBytes};
/// Handles and request numbers start at 1.
inline constexpr Bounds kHandleBounds{1, kMaxSafeInteger};
inline constexpr Bounds kTimeoutBounds{kMinTimeout, kMaxTimeout};

/// Methods whose params or result have no members.
struct Nothing {
  template <class Io, class Self>
  static void fields(Io&, Self&) {}
};

/// Of methods that list. Without either member all is answered, if it fits into a line.
struct PageParams {
  std::optional<std::uint64_t> limit;  ///< items; beyond kMaxPageItems it is that
  std::optional<std::string> after;    ///< `next` of the page before; absent: the first page
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.optional("limit", self.limit, kHandleBounds);
    io.optional("after", self.after, Bounds{0, kMaxNameBytes});
  }
};

// ---- hello

/// Of HelloResult::features.
inline constexpr const char* kFeaturePages = "pages";
inline constexpr const char* kFeatureSnapshotStream = "snapshot-stream";

struct HelloParams {
  std::string client;
  std::optional<std::string> version;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("client", self.client, kNameBounds);
    io.optional("version", self.version, Bounds{0, kMaxNameBytes});
  }
};
struct HelloResult {
  std::string server;
  std::string version;
  std::uint64_t api = kApiVersion;
  std::optional<std::string> device;   ///< absent until there is an identity
  std::optional<std::string> account;  ///< the same
  bool ready = false;
  std::vector<std::string> features{};  ///< what the first version did not have; none in a daemon that is as old
  [[nodiscard]] bool has(std::string_view feature) const {
    return std::find(features.begin(), features.end(), feature) != features.end();
  }
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("server", self.server);
    io.required("version", self.version);
    io.required("api", self.api);
    io.optional("device", self.device);
    io.optional("account", self.account);
    io.required("ready", self.ready);
    io.optional("features", self.features);
  }
};

// ---- channels

struct ChannelOpenParams {
  std::string peer;
  std::optional<std::string> device;  ///< when `peer` is an account: this device of it alone
  std::string uri;
  double timeout = kDefaultTimeout;  ///< seconds
  bool unique = false;
  bool strict_end = false;
  bool attach = false;  ///< a token instead of an fd
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("peer", self.peer, kPeerBounds);
    io.optional("device", self.device, kPeerBounds);
    io.required("uri", self.uri, kUriBounds);
    io.optional("timeout", self.timeout, kTimeoutBounds);
    io.optional("unique", self.unique);
    io.optional("strict_end", self.strict_end);
    io.optional("attach", self.attach);
  }
};
/// Result of channel.open and of channel.accept. With an fd, or a token.
struct ChannelOpenResult {
  std::uint64_t channel = 0;
  std::string device;
  std::string account;
  bool half_close = true;
  std::optional<std::string> token{};  ///< for channel.attach
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("channel", self.channel, kHandleBounds);
    io.required("device", self.device);
    io.required("account", self.account);
    io.required("half_close", self.half_close);
    io.optional("token", self.token);
  }
};
/// Of channel.attach: a connection becomes the channel. The result is the channel's handle.
struct ChannelAttachParams {
  std::string token;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("token", self.token, Bounds{kTokenDigits, kTokenDigits});
  }
};
/// Of channel.finish and channel.close.
struct ChannelParams {
  std::uint64_t channel = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("channel", self.channel, kHandleBounds);
  }
};
/// Of channel.cancel: the JSON-RPC id of a channel.open of the same client that has not been answered.
struct ChannelCancelParams {
  Json id;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("id", self.id);
  }
};
struct ChannelAcceptParams {
  std::uint64_t request = 0;
  bool strict_end = false;
  bool attach = false;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
    io.optional("strict_end", self.strict_end);
    io.optional("attach", self.attach);
  }
};
struct ChannelDeclineParams {
  std::uint64_t request = 0;
  std::optional<std::string> reason;  ///< free text, shown to the peer as `detail`
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
    io.optional("reason", self.reason, Bounds{0, kMaxTextBytes});
  }
};

enum class ChannelState { kOpening, kOpen, kClosing };
template <>
struct EnumNames<ChannelState> {
  static constexpr std::array<std::pair<std::string_view, ChannelState>, 3> kValues = {{
      {"opening", ChannelState::kOpening},
      {"open", ChannelState::kOpen},
      {"closing", ChannelState::kClosing},
  }};
};
enum class Direction { kOutgoing, kIncoming };
template <>
struct EnumNames<Direction> {
  static constexpr std::array<std::pair<std::string_view, Direction>, 2> kValues = {{
      {"outgoing", Direction::kOutgoing},
      {"incoming", Direction::kIncoming},
  }};
};
struct ChannelInfo {
  std::uint64_t channel = 0;
  std::string peer;
  std::string account;
  std::string uri;
  Direction direction = Direction::kOutgoing;
  ChannelState state = ChannelState::kOpen;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  double age_s = 0;
  std::optional<std::uint64_t> uid;  ///< of the client that owns it; only to administrators
  std::optional<std::uint64_t> pid;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("channel", self.channel, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("uri", self.uri, kUriBounds);
    io.required("direction", self.direction);
    io.required("state", self.state);
    io.required("bytes_in", self.bytes_in);
    io.required("bytes_out", self.bytes_out);
    io.required("age_s", self.age_s);
    io.optional("uid", self.uid);
    io.optional("pid", self.pid);
  }
};
struct ChannelListResult {
  std::vector<ChannelInfo> channels;
  std::optional<std::string> next{};  ///< `after` of the next page, if there is one
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("channels", self.channels);
    io.optional("next", self.next);
  }
};
/// Notification channel.closed: the truth about a channel's end.
struct ChannelClosed {
  std::uint64_t channel = 0;
  Reason reason = Reason::kInternal;
  std::uint64_t bytes_in = 0;   ///< bytes from the peer that the app's fd took
  std::uint64_t bytes_out = 0;  ///< bytes of the app that went to the connection
  std::optional<std::string> detail;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("channel", self.channel, kHandleBounds);
    io.required("reason", self.reason);
    io.required("bytes_in", self.bytes_in);
    io.required("bytes_out", self.bytes_out);
    io.optional("detail", self.detail);
  }
};

// ---- listeners

enum class ListenMode { kAuto, kAsk };
template <>
struct EnumNames<ListenMode> {
  static constexpr std::array<std::pair<std::string_view, ListenMode>, 2> kValues = {{
      {"auto", ListenMode::kAuto},
      {"ask", ListenMode::kAsk},
  }};
};
struct ListenAddParams {
  std::string uri;
  bool prefix = false;
  ListenMode mode = ListenMode::kAuto;
  Json peers = "allowed";  ///< "allowed", "any", or an array of device ids and aliases: see `listener_peers`
  bool strict_end = false;
  bool attach = false;
  /// Nobody else: 1 to kMaxListenerPeers device ids, account ids and aliases.
  std::optional<std::vector<std::string>> only_peers = std::nullopt;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("uri", self.uri, kUriBounds);
    io.optional("prefix", self.prefix);
    io.optional("mode", self.mode);
    io.optional("peers", self.peers);
    io.optional("only_peers", self.only_peers, Bounds{1, kMaxListenerPeers});
    io.optional("strict_end", self.strict_end);
    io.optional("attach", self.attach);
  }
};
/// Whose channels a listener takes.
struct ListenerPeers {
  bool any = false;                  ///< also those of peers that are not allowed
  std::vector<std::string> devices;  ///< these besides the allowed ones; device ids or aliases
};
[[nodiscard]] Outcome<ListenerPeers> listener_peers(const Json& peers);

/// Result of listen.add, params of listen.remove.
struct ListenerHandle {
  std::uint64_t listener = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("listener", self.listener, kHandleBounds);
  }
};
/// Notification channel.opened, with an fd, or a token.
struct ChannelOpened {
  std::uint64_t listener = 0;
  std::uint64_t channel = 0;
  std::string peer;
  std::string account;
  std::string uri;
  bool half_close = true;
  std::optional<std::string> token{};
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("listener", self.listener, kHandleBounds);
    io.required("channel", self.channel, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("uri", self.uri, kUriBounds);
    io.required("half_close", self.half_close);
    io.optional("token", self.token);
  }
};
/// Notification channel.request.
struct ChannelRequested {
  std::uint64_t listener = 0;
  std::uint64_t request = 0;
  std::string peer;
  std::string account;
  std::string uri;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("listener", self.listener, kHandleBounds);
    io.required("request", self.request, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("uri", self.uri, kUriBounds);
  }
};
/// Notifications channel.request_cancelled and connection.request_cancelled.
struct RequestCancelled {
  std::uint64_t request = 0;
  Reason reason = Reason::kCancelled;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
    io.required("reason", self.reason);
  }
};

}  // namespace connd::ipc
