// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Client: an app's connection to jami-connd. Opens channels to peers, listens for theirs, and calls any method.
///
///     auto client = ipc::Client::connect({.name = "sender"});
///     (*client)->connect_device(bob, "file://file1", [](ipc::ChannelSocket channel) { … });
///     auto file2 = (*client)->open(bob, "file://file2");  // the same, blocking
///
/// An app includes <jami-connd/ipc/client.h> and links jami-connd-client; tools/examples/two_files.cpp is a whole one.
///
/// It has no thread and no loop. Either the app's own loop polls `fd()` (for reading, and for writing while
/// `wants_write()`) and calls `process()`; or the app uses the blocking forms and `run_until`, which do that
/// themselves. All on one thread.
///
/// Callbacks run from `process()` and the blocking forms only, between two messages, when the Client is consistent:
/// they may make calls, also blocking ones, and destroy ChannelSockets and IncomingRequests; not the Client. Each is
/// called exactly once, unless the Client is destroyed before. When the daemon goes away, each pending call gets
/// `connection-lost`, and so does each open channel as its end; the Client stays usable for nothing but its
/// destruction. Who is not let in at all hears why instead: `not-permitted`, or `resource-limit`.
#pragma once

#if __cplusplus < 202002L
#error "the client library of jami-connd needs C++20 (-std=c++20)"
#endif

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ipc/api_admin.h"
#include "ipc/channel_socket.h"
#include "ipc/fd.h"
#include "ipc/incoming_request.h"

namespace connd::ipc {

/// In this order, so that a generic lambda is not tried with a ChannelSocket: it gets an Outcome.
template <class Handler>
concept TakesChannelAlone = !std::invocable<Handler, Outcome<ChannelSocket>> && std::invocable<Handler, ChannelSocket>;

class Client {
 public:
  using Milliseconds = std::chrono::milliseconds;
  using ReplyHandler = std::function<void(Outcome<Json>)>;
  using ChannelHandler = std::function<void(Outcome<ChannelSocket>)>;
  using OpenedHandler = std::function<void(ChannelSocket)>;
  using AskHandler = std::function<void(IncomingRequest)>;
  using ListenHandler = std::function<void(Outcome<std::uint64_t>)>;
  /// `members` is the whole object, with the members of this type of event beside Event's own. An event of type
  /// "events.lost" stands for a gap: subscribe again for a fresh snapshot.
  using EventHandler = std::function<void(const Event& event, const Json& members)>;
  using NotificationHandler = std::function<void(const Json& params)>;
  using LostHandler = std::function<void(const Error&)>;

  /// How long the blocking forms wait for what the daemon answers at once.
  static constexpr Milliseconds kCallTimeout{10'000};
  /// The daemon keeps the time of an open; a blocking open gives up this much later.
  static constexpr Milliseconds kOpenGrace{5'000};

  struct ConnectOptions {
    std::string socket_path{};  ///< empty: where SPEC and PROTOCOL.md say, see ipc/control_socket.h
    std::string name = "app";
    std::string version{};
    Milliseconds timeout = kCallTimeout;
  };
  struct OpenOptions {
    double timeout_s = kDefaultTimeout;
    bool unique = false;
    std::string device{};  ///< when `peer` is an account: this device of it alone
  };
  struct ListenOptions {
    bool prefix = false;
    Json peers = "allowed";  ///< or "any", or an array of device ids and aliases
    /// If not empty, nobody else: device ids, account ids and aliases. Those have to be allowed, or in `peers`, too.
    std::vector<std::string> only_peers = {};
  };

  /// Connects and says hello. Blocks for at most the timeout. Errors: daemon-absent, not-permitted, timed-out,
  /// protocol-error (an API version that we do not speak).
  [[nodiscard]] static Outcome<std::unique_ptr<Client>> connect(const ConnectOptions& options);
  /// On a socket that is connected already; says no hello.
  explicit Client(Fd socket);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] int fd() const;
  /// Poll `fd()` for writing too, since there is something to send, or a callback waits to be run.
  [[nodiscard]] bool wants_write() const;
  /// False once the daemon is gone. The fd is readable for good then: stop polling it when `wants_write()` is false
  /// too.
  [[nodiscard]] bool connected() const;
  /// Reads, writes and runs callbacks, without blocking.
  void process();
  /// Processes until `done()` (asked first) or for `timeout` at most; returns `done()`. Ends early when the daemon is
  /// gone and all callbacks have run.
  bool run_until(const std::function<bool()>& done, Milliseconds timeout);
  /// What the daemon said of itself; empty before `connect` has said hello.
  [[nodiscard]] const HelloResult& server() const;

  /// Calls any method. An fd that comes with the result is closed; channels have their own functions. Text that is not
  /// UTF-8 is `invalid-argument`; as a channel's name, in the functions for channels, `bad-name`. Nothing is asked
  /// then.
  void call(std::string_view method, Json params, ReplyHandler handler);
  [[nodiscard]] Outcome<Json> call(std::string_view method, Json params, Milliseconds timeout = kCallTimeout);
  /// The same with a struct of ipc/api.h or ipc/api_admin.h as result.
  template <class Result>
  [[nodiscard]] Outcome<Result> fetch(std::string_view method, Json params = Json::object()) {
    Outcome<Json> reply = call(method, std::move(params));
    if (!reply) return reply.error();
    return read_result<Result>(*reply);
  }

  /// Calls a method that lists, in pages where the daemon gives them: the result has all items in its member `items`,
  /// however many there are. Blocks for at most the timeout for each page.
  [[nodiscard]] Outcome<Json> list(std::string_view method, const char* items, Milliseconds timeout = kCallTimeout);
  /// The same with a struct of ipc/api.h, ipc/api_admin.h or ipc/api_trust.h as result.
  template <class Result>
  [[nodiscard]] Outcome<Result> fetch_list(std::string_view method, const char* items) {
    Outcome<Json> reply = list(method, items);
    if (!reply) return reply.error();
    return read_result<Result>(*reply);
  }

  /// Opens a channel named `uri` to `peer`: a device id or alias, or an account id, for the first of its devices that
  /// answers.
  void connect_device(std::string_view peer, std::string_view uri, ChannelHandler handler, OpenOptions options);
  void connect_device(std::string_view peer, std::string_view uri, ChannelHandler handler) {
    connect_device(peer, uri, std::move(handler), OpenOptions{});
  }
  /// The same for a handler that takes a ChannelSocket, and learns all from it: a channel that could not be opened is
  /// one that has ended already, with fd() -1, handle() 0, and the reason in end(). device() may be empty then.
  template <TakesChannelAlone Handler>
  void connect_device(std::string_view peer, std::string_view uri, Handler handler, OpenOptions options) {
    connect_device(peer, uri, or_ended(uri, std::move(handler)), std::move(options));
  }
  template <TakesChannelAlone Handler>
  void connect_device(std::string_view peer, std::string_view uri, Handler handler) {
    connect_device(peer, uri, std::move(handler), OpenOptions{});
  }
  [[nodiscard]] Outcome<ChannelSocket> open(std::string_view peer, std::string_view uri, OpenOptions options);
  [[nodiscard]] Outcome<ChannelSocket> open(std::string_view peer, std::string_view uri) {
    return open(peer, uri, OpenOptions{});
  }

  /// Takes each channel whose uri is, or with `prefix` begins with, `uri`. `done` gets the listener's number, for
  /// `stop_listening`; the listener ends with this Client at the latest.
  void listen(std::string_view uri, const ListenOptions& options, OpenedHandler handler, ListenHandler done);
  [[nodiscard]] Outcome<std::uint64_t> listen(std::string_view uri, const ListenOptions& options,
                                              OpenedHandler handler);
  /// The same, but each request is shown first, and accepted or declined by the app.
  void listen_ask(std::string_view uri, const ListenOptions& options, AskHandler handler, ListenHandler done);
  [[nodiscard]] Outcome<std::uint64_t> listen_ask(std::string_view uri, const ListenOptions& options,
                                                  AskHandler handler);
  /// From now on its handler is not called; requests that are under way are declined.
  void stop_listening(std::uint64_t listener);

  /// Subscribes; `done` gets the snapshot, then the handler the events after it. A snapshot comes in parts where the
  /// daemon can do that: its items are as of when their part was sent, and events from before that may follow.
  void on_event(EventHandler handler, std::function<void(Outcome<Snapshot>)> done);
  [[nodiscard]] Outcome<Snapshot> on_event(EventHandler handler);
  /// Notifications that the functions above do not take, such as connection.request.
  void on_notification(std::string method, NotificationHandler handler);
  /// Called once when the daemon has gone away, after all the calls and channels have got their ends.
  void on_lost(LostHandler handler);

 private:
  struct Parts;

  ChannelHandler or_ended(std::string_view uri, OpenedHandler handler);

  std::unique_ptr<Parts> parts_;
};

}  // namespace connd::ipc
