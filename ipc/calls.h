// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Calls: the app's side of a control connection as calls and their answers. What is no answer goes to the owner.
///
/// Used on one thread, without a loop of its own: see Client, whose promises about callbacks are kept here. Each
/// handler is called exactly once, unless Calls is destroyed before, or the call is given up.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ipc/fd_channel.h"

namespace connd::ipc {

class Calls {
 public:
  using Milliseconds = std::chrono::milliseconds;
  /// `fd` comes with the results of those methods that give one; whoever does not take it closes it.
  using Handler = std::function<void(Outcome<Json> result, Fd fd)>;
  /// What a blocking form waits for. Shared with the handler, which may still wait to be run when nobody waits any
  /// more.
  template <class T>
  using Slot = std::shared_ptr<std::optional<Outcome<T>>>;

  class Owner {
   public:
    /// From inside process().
    virtual void notified(const Notification& note, Fd fd) = 0;
    /// Once. Pending calls will hear of it; nothing is called from inside: what there is to tell is deferred.
    virtual void connection_lost(const Error& error) = 0;

   protected:
    ~Owner() = default;
  };

  Calls(Fd socket, Owner& owner);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  [[nodiscard]] int fd() const { return channel_.fd(); }
  [[nodiscard]] bool wants_write() const { return channel_.wants_write() || !deferred_.empty(); }
  [[nodiscard]] bool lost() const { return lost_; }
  /// The daemon has answered hello: from now on an error without a call's id is a line's, not the whole connection's.
  void let_in() { let_in_ = true; }

  /// Reads, writes and runs handlers and what is deferred, without blocking.
  void process();
  /// Processes until `done()` (asked first) or for `timeout` at most; returns `done()`. Ends early when the connection
  /// is lost and all is told.
  bool run_until(const std::function<bool()>& done, Milliseconds timeout);
  /// The same until the slot is filled; timed-out when it is not.
  template <class T>
  [[nodiscard]] Outcome<T> wait(const Slot<T>& slot, Milliseconds timeout) {
    run_until([&slot] { return slot->has_value(); }, timeout);
    if (!*slot) return no_answer();
    return std::move(**slot);
  }

  /// Calls a method; its number, for give_up. Text that is not UTF-8 is invalid-argument, and nothing is asked then.
  std::uint64_t start(std::string_view method, Json params, Handler handler);
  /// The same for who needs no answer.
  void tell(std::string_view method, Json params) {
    start(method, std::move(params), [](const Outcome<Json>&, const Fd&) {});
  }
  /// Its answer is for nobody.
  void give_up(std::uint64_t id) { pending_.erase(id); }
  /// Runs it from process(), behind what waits already.
  void defer(std::function<void()> task) { deferred_.push_back(std::move(task)); }
  /// The daemon does not keep to the protocol: the end of the connection.
  void bad_notification(const Error& error);

 private:
  static Error no_answer();
  void flush() { channel_.on_writable(); }
  void lose(Error error);
  void run_deferred();
  void process_lines();
  void dispatch(FdChannel::Incoming incoming);
  void answer(const Json& id, Outcome<Json> result, Fd fd);

  Owner& owner_;
  FdChannel channel_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Handler> pending_;
  std::deque<std::function<void()>> deferred_;  // callbacks whose cause was found outside of process()
  std::string farewell_;                        // what the daemon said last without naming a request
  std::optional<Error> turned_away_;            // it did not let us in
  bool let_in_ = false;
  bool lost_ = false;
  int depth_ = 0;  // of process(), which callbacks may enter again
};

}  // namespace connd::ipc
