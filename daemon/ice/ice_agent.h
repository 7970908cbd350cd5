// SPDX-License-Identifier: GPL-3.0-or-later
/// IceAgent: one attempt to make one path to a peer, with ICE over TCP (RFC 6544, RFC 8445), at whose end the connected
/// socket is taken over from libnice.
///
/// Why take over: libnice's RFC 4571 reassembly buffer is per component, not per socket. A stranger who connects to the
/// listening port and sends a few bytes, with no credential, corrupts the peer's stream for as long as libnice reads
/// it. An IceGate keeps strangers' bytes away while ICE runs, but it can only look before libnice reads, and libnice
/// has no back-pressure on receive. So libnice only finds and opens the connection. As soon as it is CONNECTED the
/// component is parked on a context that nobody iterates, the socket is duplicated, and the agent with its listeners is
/// dropped. Should a stranger still break an attempt before that, the owner tries again with a new agent, on fresh
/// ports; after it, none can.
///
/// The hand-over. Bytes that libnice has read when it is parked are gone, so nobody may send on the path before the
/// other side is parked. Between our own daemons the *controlled* side (the TLS server) parks and says so
/// with one RFC 4571 frame, `00 04 'J' 'C' 'H' 01`; the *controlling* side (the TLS client) waits for it, parks, and
/// may send from then on. A Jami peer knows no such frame: both roles take over at CONNECTED, and whole frames that
/// libnice delivered before are in IcePath::early.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nice/agent.h>

#include "daemon/event_loop/glib_bridge.h"
#include "daemon/event_loop/loop.h"
#include "daemon/ice/ice_gate.h"
#include "daemon/ice/offered_addresses.h"
#include "ipc/fd.h"
#include "proto/bytes.h"
#include "proto/ice_description.h"

namespace connd::daemon {

/// Connections of one agent that are kept open beside the selected one: 15 were seen with three addresses a side.
inline constexpr std::size_t kMaxHeldSockets = 64;
/// Data that a peer may send before the take-over: a ClientHello with room to spare. More fails the attempt.
inline constexpr std::size_t kMaxEarlyBytes = 128 * 1024;

struct IceConfig {
  bool controlling = false;  ///< the side that answers the connection request
  /// Numeric; empty: those of this machine that `interfaces` and offered_addresses.h leave.
  std::vector<std::string> local_addresses;
  /// The first checks wait longer for their answer: a link of a long round trip needs it, and all others have a path
  /// chosen later by it.
  bool patient = false;
  std::vector<std::string> interfaces;  ///< only these, and only from these; empty: all that lead somewhere
  bool allow_loopback = false;          ///< offer loopback addresses, and connect to a peer's
  /// The addresses that others see this machine at, numeric, the likeliest first; asked when the candidates are told.
  /// Empty: none are known.
  std::function<std::vector<std::string>()> public_addresses;
  /// Between two checks. libnice's default of 20 ms makes the first connection take 82 ms, 5 ms makes it 22.
  std::chrono::milliseconds pacing{5};
  /// How long libnice goes on when nothing happens. A peer may learn our candidates seconds after we learnt its: over a
  /// DHT the default of 5 s is too short.
  std::chrono::milliseconds idle_timeout{30'000};
};

struct IcePath {
  ipc::Fd socket;  ///< connected TCP, non-blocking, TCP_NODELAY; the stream stands at the start of an RFC 4571 frame
  /// Every other connection to the peer that this attempt opened. Against a Jami peer hold them until the session ends:
  /// closing one slows jamid to 300-470 ms per round trip for good. A native peer does not mind once TLS is up: they
  /// are closed when its hello is here.
  std::vector<ipc::Fd> held;
  /// Payloads, in order, of the whole RFC 4571 frames that libnice read: framing and STUN are already off. They come
  /// before anything that `socket` yields. Empty with a native peer.
  proto::ByteVector early;
  /// IceConfig's role, from which the TLS role follows: controlling is the client. Signalling gives the two sides
  /// different ones; libnice resolves a conflict with a peer that does not keep to it, but does not tell how.
  bool controlling = false;
  std::string kind = "host";            ///< how it came about, for people: host, mapped, punched, relayed
  std::string local, remote;            ///< "ip:port" of the socket itself
  std::string local_type, remote_type;  ///< host, srflx, prflx, relay
  /// For STUN after the take-over: requests to us carry USERNAME local_ufrag:remote_ufrag and are authenticated with
  /// local_pwd.
  std::string local_ufrag, local_pwd, remote_ufrag;
};

/// All of them come in a loop turn of their own, never from inside a call of this class or of GLib; each may destroy
/// the agent. on_path and on_failed end the attempt: exactly one of them comes, if the owner waits long enough.
struct IceCallbacks {
  std::function<void(proto::IceDescription)> on_gathered;  ///< once: our description, for the peer
  std::function<void(IcePath)> on_path;
  /// One clause for people. libnice's own FAILED is not final (it is seen 20 ms before a success), so it is not
  /// reported: the deadline is the owner's, who then destroys the agent.
  std::function<void(std::string)> on_failed;
};

/// Lives on the loop's thread. Destroying it cancels silently and closes all it had opened.
class IceAgent {
 public:
  IceAgent(Loop& loop, GlibBridge& bridge, IceConfig config, IceCallbacks callbacks);
  ~IceAgent();
  IceAgent(const IceAgent&) = delete;
  IceAgent& operator=(const IceAgent&) = delete;

  /// Opens the listeners and collects candidates. Once.
  void gather();
  /// The peer's description; checks start. After gather(), on_gathered need not have come. Once. `native_peer`: the
  /// peer is a jami-connd too (both sides know it from the connection request), and the hand-over frame is used.
  void set_remote(const proto::IceDescription& remote, bool native_peer);

 private:
  enum class State { kIdle, kActive, kParked, kEnded };
  struct Credentials {
    std::string local_ufrag, local_pwd, remote_ufrag;
  };
  /// How far the two sides are with taking the socket over.
  struct HandOver {
    bool native = false;     ///< the peer knows the frame
    bool connected = false;  ///< CONNECTED was signalled
    bool frame_seen = false;
  };
  struct LaterChecks {
    bool patient = false;  ///< new checks wait longer for their answer
    std::vector<proto::Candidate> held_back;
  };
  /// What is found when the component is parked; completed and given away in the next turn.
  struct Selected {
    int number = -1;  ///< libnice's descriptor
    ipc::Fd socket;   ///< ours, of the same connection
    std::string local_type, remote_type;
  };

  bool create_agent();
  bool add_addresses();
  void connect_signals();
  void on_later();
  void add_remote(const std::vector<proto::Candidate>& candidates);
  void on_gathering_done();
  void on_state(guint component_state);
  void on_data(proto::Bytes payload);
  void maybe_park();
  void park();
  [[nodiscard]] std::vector<int> parked_sockets() const;
  bool select_socket(NiceCandidate& local, NiceCandidate& remote);
  bool hold_others(IcePath& path);
  bool announce_hand_over(const IcePath& path);
  [[nodiscard]] bool peers_address(const NiceAddress& address) const;
  void fail(std::string why);
  void drop_agent();
  void deliver();
  void deliver_gathered();
  void deliver_path();

  Loop& loop_;
  GlibBridge& bridge_;
  IceConfig config_;
  IceCallbacks callbacks_;
  GlibBridge::Use use_;
  IceGate gate_;  ///< registered with the bridge while parking_ exists
  NiceAgent* agent_ = nullptr;
  guint stream_ = 0;
  GMainContext* parking_ = nullptr;  ///< never iterated; owned by this thread (see park)
  State state_ = State::kIdle;
  HandOver hand_over_;
  bool gathered_pending_ = false;
  OfferedAddresses offered_;
  LaterChecks later_checks_;
  std::optional<std::string> failure_;
  Selected selected_;
  proto::ByteVector early_;
  Credentials credentials_;
  Timer later_;
  Timer soon_;  ///< runs deliver() in a coming turn; as a member it cannot outlive us
};

}  // namespace connd::daemon
