// SPDX-License-Identifier: GPL-3.0-or-later
/// IceGate: keeps strangers' bytes away from libnice.
///
/// libnice puts what it reads from all sockets of a component into one RFC 4571 reassembly buffer. A stranger who
/// connects to a listening port and sends half a frame, with no credential, thereby garbles the peer's frames too, and
/// since the ports are open for as long as the signalling takes, every attempt could be broken (10 of 10 were). So a
/// connection that came in is not shown to libnice as readable until its first frame is whole and is what the peer's
/// must be: a STUN binding request whose USERNAME names our ice-ufrag (RFC 8445 7.2.2), which is known only to who
/// could read our description. The bytes are looked at with MSG_PEEK and stay in the kernel.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <nice/agent.h>
#include <sys/types.h>

#include "daemon/event_loop/glib_bridge.h"
#include "proto/bytes.h"

namespace connd::daemon {

/// Connections that came in and are held back. With so many, no more are accepted for this attempt: descriptors are
/// finite. The peer may still be reached by our own connections to it.
inline constexpr std::size_t kMaxStrangers = 64;

enum class FirstFrame { kIncomplete, kPeer, kStranger };
/// Judges what an incoming connection has sent so far.
FirstFrame judge_first_frame(proto::Bytes bytes, std::string_view local_ufrag);

/// The gate of one agent.
class IceGate final : public GlibBridge::Gate {
 public:
  /// The addresses that the agent listens on, and its ice-ufrag.
  void guard(std::vector<NiceAddress> listeners, std::string local_ufrag);
  bool admits(int fd) override;
  /// Whether the connection has sent something, or hung up, without showing that it is the peer's.
  [[nodiscard]] bool is_stranger(int fd) const;

 private:
  [[nodiscard]] bool is_ours(int fd) const;

  std::vector<NiceAddress> listeners_;
  std::string local_ufrag_;
  // Connections by the inode of their socket: numbers are used again.
  std::set<ino_t> admitted_;
  std::set<ino_t> strangers_;
};

}  // namespace connd::daemon
