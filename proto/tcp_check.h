// SPDX-License-Identifier: GPL-3.0-or-later
/// TcpCheck: ICE's connectivity check (RFC 8445, section 7; RFC 6544) on one TCP connection that is there already, for
/// connections that an ICE library does not make: those through the front door, and punched ones.
///
/// It tells whose the connection is, and lets both sides agree that it is to be used:
/// - who has made the connection says so first, by a binding request with the attempt's credentials: start();
/// - a request with ours is answered, and one of our own follows, if there was none;
/// - the controlling side's requests carry USE-CANDIDATE: its answer selects the connection there, the request at the
///   controlled side.
/// So it ends after one round trip, or one and a half, with one of our own as well as with an ICE library's active
/// candidate. It ends in the midst of the stream: behind the frames that feed() has used comes whatever the peer says
/// on the selected connection. Checks that come later are the taker's to answer.
///
/// Two attempts between the same two devices can meet on one connection, each side's own: see Step::other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "proto/bytes.h"
#include "proto/stun.h"

namespace connd::proto {

/// Short-term credentials of one attempt: each side's, from the ICE text of section 5 of PROTOCOL.md. The controlled
/// side may not have the other's yet: it asks nothing then, and is selected all the same.
struct CheckCredentials {
  std::string local_ufrag, local_pwd, remote_ufrag, remote_pwd;
};

class TcpCheck {
 public:
  enum class State : std::uint8_t { kChecking, kSelected, kFailed };
  /// Messages of a check, at most: three are exchanged, and a library may repeat them.
  static constexpr unsigned kMaxMessages = 16;

  struct Chance {
    StunTransaction transaction;
    std::uint64_t tie_breaker;
  };
  struct Step {
    std::size_t used = 0;  ///< bytes from the front: whole frames, and never one that is not STUN
    /// The next frame is a request for another ufrag than ours, and of this many bytes: another attempt's. The owner
    /// gives the connection to that one, frame and all, or passes over the frame.
    std::size_t other = 0;
    std::string other_ufrag{};
  };

  /// `peer`: where the connection comes from, or goes to.
  TcpCheck(CheckCredentials credentials, bool controlling, const IpEndpoint& peer, const Chance& chance);

  /// Sends our request. Again: changes nothing.
  void start();
  /// `bytes`: what has come, from the start of a frame. The same bytes that were not used come again, with more.
  Step feed(Bytes bytes);
  /// What is to be sent, in order.
  [[nodiscard]] ByteVector take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] State state() const { return state_; }

 private:
  void on_message(Bytes message, const StunView& view);
  void on_request(Bytes message, const StunView& view);

  CheckCredentials credentials_;
  bool controlling_;
  IpEndpoint peer_;
  Chance chance_;
  ByteVector output_;
  State state_ = State::kChecking;
  unsigned messages_ = 0;
  bool started_ = false;
};

}  // namespace connd::proto
