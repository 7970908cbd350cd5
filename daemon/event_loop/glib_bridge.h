// SPDX-License-Identifier: GPL-3.0-or-later
/// GlibBridge: runs one GMainContext inside the libuv loop, so that libnice needs no thread.
///
/// Each turn of GLib is prepare, query, (wait), check, dispatch. The wait is libuv's: GLib's descriptors are in an
/// epoll set of our own, which is one uv_poll. Two reasons against one uv_poll per descriptor:
/// - libnice closes a socket and opens another of the same number within one dispatch. libuv would take the new one for
///   registered and never report it; here a descriptor is known by number *and* inode.
/// - uv_poll hides POLLHUP and POLLERR, which libnice looks at. Here the revents are what poll(2) says.
///
/// ICE lives for a moment per connection, so the bridge runs only while somebody holds a Use, and while it runs a turn
/// of the loop in which nothing of GLib's happened costs one branch.
#pragma once

#include <glib.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "daemon/event_loop/loop.h"
#include "ipc/fd.h"

namespace connd::daemon {

/// Lives on the loop's thread, which owns the context while the bridge runs. Not destroyed while a Use lives, nor from
/// inside a GLib callback.
class GlibBridge {
 public:
  /// Throws std::system_error when the kernel gives no epoll set (start-up).
  explicit GlibBridge(Loop& loop);
  ~GlibBridge();
  GlibBridge(const GlibBridge&) = delete;
  GlibBridge& operator=(const GlibBridge&) = delete;

  /// Keeps the bridge running.
  class Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept : bridge_(std::exchange(other.bridge_, nullptr)) {}
    Use& operator=(Use&& other) noexcept;
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { reset(); }
    void reset();

   private:
    friend class GlibBridge;
    explicit Use(GlibBridge& bridge) : bridge_(&bridge) {}
    GlibBridge* bridge_ = nullptr;
  };
  [[nodiscard]] Use use();

  /// The context to attach sources to; the bridge's own.
  [[nodiscard]] GMainContext* context() { return context_; }

  /// To be called after sources were added or changed from outside of a GLib callback: they are looked at before the
  /// loop waits.
  void touch();
  /// To be called before a descriptor that GLib polls is duplicated or closed from outside of a GLib callback. An epoll
  /// set follows the open file, not the number: a registration that outlives its number could never be removed. What
  /// is still polled is registered again before the loop waits.
  void forget_descriptors();

  /// Asked whenever a descriptor is ready and before GLib hears of it.
  class Gate {
   public:
    /// False holds the descriptor's readiness back: GLib is not told, and it is asked again when more has arrived (or
    /// in any turn in which something else happened). Must not touch the bridge.
    virtual bool admits(int fd) = 0;

   protected:
    Gate() = default;
    Gate(const Gate&) = default;
    Gate& operator=(const Gate&) = default;
    ~Gate() = default;
  };
  /// A descriptor must pass all gates. Neither is to be called from inside a GLib callback.
  void add_gate(Gate& gate) { gates_.push_back(&gate); }
  void remove_gate(Gate& gate) { std::erase(gates_, &gate); }

  [[nodiscard]] bool running() const { return uses_ > 0; }

 private:
  struct Registered {
    int fd = -1;
    ino_t inode = 0;
    std::uint32_t events = 0;
  };

  void start();
  void stop();
  void release_use();
  void on_turn();
  void on_readable();
  void check_and_dispatch();
  void hold_back();
  void prepare();
  void sync_descriptors();
  [[nodiscard]] std::vector<Registered> polled() const;
  void apply(int operation, const Registered& registered);

  Loop& loop_;
  GMainContext* context_;
  ipc::Fd epoll_;
  std::vector<GPollFD> fds_;            ///< of the last query; GLib wants the same array back in check
  std::vector<Registered> registered_;  ///< sorted by fd
  std::vector<Gate*> gates_;
  std::vector<int> held_back_;  ///< ready in the last check, but not past the gates
  int uses_ = 0;
  gint priority_ = 0;
  bool prepared_ = false;
  bool dirty_ = false;  ///< something of GLib's may have happened since the last turn
  bool in_turn_ = false;
  bool unwatched_ = false;  ///< the kernel refused a registration: look every few milliseconds instead
  Timer timer_;
  Poll poll_;
  BeforeWait before_wait_;
};

}  // namespace connd::daemon
