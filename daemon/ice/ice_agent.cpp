// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/ice_agent.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/ice/nice_candidate.h"
#include "proto/stun.h"

namespace connd::daemon {
namespace {

/// Descriptors that must be free before an attempt starts. GLib *aborts the process* when it gets none for a context's
/// wake-up, and an agent makes such contexts; two listeners and a few connections per address come on top.
constexpr std::size_t kDescriptorsNeeded = 32;

/// How long libnice waits for the answer to a check over TCP, connecting included. The controlling side nominates when
/// all pairs have an answer or none will come, and of the peer's address behind a firewall none does: with libnice's
/// default of 2 s that is what such set-ups took. Round trips of up to 400 ms do with this.
constexpr std::chrono::milliseconds kFirstAnswer(500);
/// That of a patient attempt, and of checks that begin when the first ones would have had their answer.
constexpr std::chrono::milliseconds kLaterAnswer(2000);

/// For so long the peer's private addresses are left alone where we have a public one: the peer can reach that, once it
/// has our description (over the DHT: up to a second), and nothing that waits in vain delays the choice of that path.
/// Where a firewall lets nobody in, the private ones are tried then; five seconds are there for all of it.
constexpr std::chrono::milliseconds kHoldBack(1500);

/// RFC 4571 frame of the hand-over (SPEC 4.5), and its payload as libnice delivers it.
constexpr std::array<std::uint8_t, 6> kHandOverFrame = {0, 4, 'J', 'C', 'H', 1};

struct FreeText {
  void operator()(gchar* text) const { g_free(text); }
};
using GText = std::unique_ptr<gchar, FreeText>;

bool enough_descriptors() {
  std::vector<ipc::Fd> probes;
  for (std::size_t i = 0; i < kDescriptorsNeeded; ++i) {
    probes.emplace_back(eventfd(0, EFD_CLOEXEC));
    if (!probes.back()) return false;
  }
  return true;
}

ipc::Fd duplicate(int fd) {
  return ipc::Fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

using NameCall = int (*)(int, sockaddr*, socklen_t*);
/// getsockname or getpeername as libnice's type; false when there is none (a listener, a socket still connecting).
bool name_of(NameCall call, int fd, NiceAddress& out) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (call(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return false;
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) return false;
  nice_address_init(&out);
  nice_address_set_from_sockaddr(&out, reinterpret_cast<sockaddr*>(&storage));
  return true;
}

bool is_connected_tcp(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  NiceAddress peer;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
         name_of(getpeername, fd, peer);
}

bool is_hand_over(proto::Bytes payload) {
  return std::equal(payload.begin(), payload.end(), kHandOverFrame.begin() + proto::kFrameLengthBytes,
                    kHandOverFrame.end());
}

}  // namespace

IceAgent::IceAgent(Loop& loop, GlibBridge& bridge, IceConfig config, IceCallbacks callbacks)
    : loop_(loop),
      bridge_(bridge),
      config_(std::move(config)),
      callbacks_(std::move(callbacks)),
      later_(loop, [this] { on_later(); }),
      soon_(loop, [this] { deliver(); }) {}

IceAgent::~IceAgent() {
  assert(loop_.on_thread());
  drop_agent();
}

void IceAgent::gather() {
  assert(state_ == State::kIdle);
  state_ = State::kActive;
  if (!enough_descriptors()) return fail("no free file descriptors for ICE");
  if (!create_agent() || !add_addresses()) return;
  if (!nice_agent_gather_candidates(agent_, stream_)) {
    return fail("no listening socket could be opened on any local address");
  }
  bridge_.touch();
}

bool IceAgent::create_agent() {
  use_ = bridge_.use();
  parking_ = g_main_context_new();
  // Owned, never iterated. libnice may call back once more after it is parked: the call of the dispatch that parked it.
  // It does so directly only if this thread owns the component's context; otherwise it queues the data for an iteration
  // that never comes, and they are lost.
  g_main_context_acquire(parking_);
  bridge_.add_gate(gate_);
  // Not reliable: removing the stream of a reliable agent writes 24 unframed bytes into the selected TCP socket.
  agent_ = nice_agent_new_full(bridge_.context(), NICE_COMPATIBILITY_RFC5245, NICE_AGENT_OPTION_REGULAR_NOMINATION);
  g_object_set(agent_, "ice-udp", FALSE, "ice-tcp", TRUE, "upnp", FALSE, "controlling-mode",
               static_cast<gboolean>(config_.controlling), "stun-pacing-timer",
               static_cast<guint>(config_.pacing.count()), "stun-reliable-timeout",
               static_cast<guint>((config_.patient ? kLaterAnswer : kFirstAnswer).count()), "idle-timeout",
               static_cast<guint>(config_.idle_timeout.count()), nullptr);
  connect_signals();
  stream_ = nice_agent_add_stream(agent_, 1);
  gchar* ufrag = nullptr;
  gchar* pwd = nullptr;
  if (stream_ == 0 || !nice_agent_get_local_credentials(agent_, stream_, &ufrag, &pwd)) {
    fail("libnice could not make a stream");
    return false;
  }
  credentials_.local_ufrag = GText(ufrag).get();
  credentials_.local_pwd = GText(pwd).get();
  const auto on_data = [](NiceAgent*, guint, guint, guint size, gchar* data, gpointer self) {
    static_cast<IceAgent*>(self)->on_data({reinterpret_cast<const std::uint8_t*>(data), size});
  };
  // Without a receiver libnice reads nothing, and so completes no check.
  nice_agent_attach_recv(agent_, stream_, kIceComponent, bridge_.context(), on_data, this);
  return true;
}

void IceAgent::connect_signals() {
  using Agent = NiceAgent*;
  const auto on_done = +[](Agent, guint, IceAgent* self) { self->on_gathering_done(); };
  const auto on_state = +[](Agent, guint, guint, guint state, IceAgent* self) { self->on_state(state); };
  const auto on_pair = +[](Agent, guint, guint, NiceCandidate*, NiceCandidate*, IceAgent* self) { self->maybe_park(); };
  g_signal_connect(agent_, "candidate-gathering-done", G_CALLBACK(on_done), this);
  g_signal_connect(agent_, "component-state-changed", G_CALLBACK(on_state), this);
  g_signal_connect(agent_, "new-selected-pair-full", G_CALLBACK(on_pair), this);
}

bool IceAgent::add_addresses() {
  offered_.local = config_.local_addresses;
  if (offered_.local.empty()) offered_ = offered_addresses({config_.allow_loopback, config_.interfaces});
  // Explicit addresses turn libnice's own enumeration off, which would add link-local ones and never loopback.
  std::size_t added = 0;
  for (const std::string& text : offered_.local) {
    NiceAddress address;
    nice_address_init(&address);
    if (!nice_address_set_from_string(&address, text.c_str())) continue;
    if (nice_agent_add_local_address(agent_, &address)) ++added;
  }
  if (added > 0) return true;
  fail(config_.interfaces.empty() ? "no network address to offer"
                                  : "the interfaces that the daemon was told to use have no address");
  return false;
}

void IceAgent::on_gathering_done() {
  gathered_pending_ = true;
  soon_.arm_in({});
}

void IceAgent::set_remote(const proto::IceDescription& remote, bool native_peer) {
  assert(state_ != State::kIdle && credentials_.remote_ufrag.empty());
  if (agent_ == nullptr || failure_) return;  // on_failed is on its way
  hand_over_.native = native_peer;
  credentials_.remote_ufrag = remote.ufrag;
  nice_agent_set_remote_credentials(agent_, stream_, remote.ufrag.c_str(), remote.pwd.c_str());
  const PeerAddresses allowed{offered_.has_loopback() || config_.allow_loopback, offered_.has_link_local()};
  std::vector<proto::Candidate> now;
  for (const proto::Candidate& candidate : connectable(remote.candidates, allowed)) {
    (offered_.may_wait(candidate) ? later_checks_.held_back : now).push_back(candidate);
  }
  later_.arm_in(kFirstAnswer);
  add_remote(now);
}

void IceAgent::on_later() {
  if (state_ != State::kActive || agent_ == nullptr) return;
  if (std::exchange(later_checks_.patient, true)) return add_remote(std::exchange(later_checks_.held_back, {}));
  g_object_set(agent_, "stun-reliable-timeout", static_cast<guint>(kLaterAnswer.count()), nullptr);
  if (!later_checks_.held_back.empty()) later_.arm_in(kHoldBack - kFirstAnswer);
}

void IceAgent::add_remote(const std::vector<proto::Candidate>& remote) {
  if (state_ != State::kActive || failure_) return;
  std::vector<NiceCandidatePtr> candidates;
  for (const proto::Candidate& candidate : remote) candidates.push_back(to_nice(candidate, stream_));
  // No usable line is no failure: the peer may still reach our listeners.
  GSList* list = nullptr;
  for (const auto& candidate : candidates) list = g_slist_append(list, candidate.get());
  nice_agent_set_remote_candidates(agent_, stream_, kIceComponent, list);
  g_slist_free(list);
  bridge_.touch();
}

void IceAgent::on_state(guint component_state) {
  // READY would wait up to 2 s for unreachable pairs; FAILED is not final.
  if (component_state != NICE_COMPONENT_STATE_CONNECTED && component_state != NICE_COMPONENT_STATE_READY) return;
  hand_over_.connected = true;
  maybe_park();
}

void IceAgent::on_data(proto::Bytes payload) {
  if (state_ == State::kEnded || failure_) return;
  if (hand_over_.native && is_hand_over(payload)) {
    // It may come before CONNECTED is signalled: signals are delivered after the read that caused them.
    hand_over_.frame_seen = true;
    return maybe_park();
  }
  if (early_.size() + payload.size() > kMaxEarlyBytes) return fail("too much data before the connection was ready");
  early_.insert(early_.end(), payload.begin(), payload.end());
}

void IceAgent::maybe_park() {
  if (state_ != State::kActive || !hand_over_.connected || failure_) return;
  if (hand_over_.native && config_.controlling && !hand_over_.frame_seen) return;
  park();
}

void IceAgent::park() {
  NiceCandidate* local = nullptr;
  NiceCandidate* remote = nullptr;
  if (!nice_agent_get_selected_pair(agent_, stream_, kIceComponent, &local, &remote)) return;
  const auto on_data = [](NiceAgent*, guint, guint, guint size, gchar* data, gpointer self) {
    static_cast<IceAgent*>(self)->on_data({reinterpret_cast<const std::uint8_t*>(data), size});
  };
  // From here on libnice reads nothing more; what stays in the kernel is ours. The callback stays: passing NULL would
  // make libnice remove a pending source from the wrong context.
  nice_agent_attach_recv(agent_, stream_, kIceComponent, parking_, on_data, this);
  state_ = State::kParked;
  if (!select_socket(*local, *remote)) return;
  // The rest in a turn of its own: this may be the middle of libnice's read, whose last frame is still to be delivered.
  soon_.arm_in({});
}

std::vector<int> IceAgent::parked_sockets() const {
  // Parked, the component's sockets are what the parking context would poll, and nothing else is. (libnice's
  // nice_agent_get_sockets lists the local candidates' sockets, listeners above all; its get_selected_socket is NULL
  // for TCP.)
  std::vector<GPollFD> fds;
  gint needed = 0;
  do {
    fds.resize(static_cast<std::size_t>(needed));
    gint timeout = 0;
    needed = g_main_context_query(parking_, G_MAXINT, &timeout, fds.data(), static_cast<gint>(fds.size()));
  } while (needed > static_cast<gint>(fds.size()));
  std::vector<int> out;
  for (gint i = 0; i < needed; ++i) {
    const int fd = fds[static_cast<std::size_t>(i)].fd;
    if (is_connected_tcp(fd) && std::find(out.begin(), out.end(), fd) == out.end()) out.push_back(fd);
  }
  return out;
}

bool IceAgent::select_socket(NiceCandidate& local, NiceCandidate& remote) {
  std::vector<int> exact;
  std::vector<int> same_ip;  // an active local candidate may be known without its port
  for (const int fd : parked_sockets()) {
    NiceAddress own;
    NiceAddress peer;
    if (!name_of(getsockname, fd, own) || !name_of(getpeername, fd, peer)) continue;
    if (!nice_address_equal(&peer, &remote.addr)) continue;
    if (nice_address_equal(&own, &local.base_addr) || nice_address_equal(&own, &local.addr)) exact.push_back(fd);
    if (nice_address_equal_no_port(&own, &local.base_addr)) same_ip.push_back(fd);
  }
  const std::vector<int>& found = exact.empty() ? same_ip : exact;
  if (found.size() != 1) {
    fail(found.empty() ? "the selected connection was lost at once" : "the selected connection is ambiguous");
    return false;
  }
  selected_.number = found.front();
  selected_.socket = duplicate(found.front());
  selected_.local_type = nice_candidate_type_to_string(local.type);
  selected_.remote_type = nice_candidate_type_to_string(remote.type);
  if (!selected_.socket) fail("no free file descriptor for the connection");
  return static_cast<bool>(selected_.socket);
}

bool IceAgent::peers_address(const NiceAddress& address) const {
  GSList* list = nice_agent_get_remote_candidates(agent_, stream_, kIceComponent);
  bool found = false;
  for (GSList* i = list; i != nullptr; i = i->next) {
    found = found || nice_address_equal_no_port(&static_cast<NiceCandidate*>(i->data)->addr, &address);
  }
  g_slist_free_full(list, [](gpointer c) { nice_candidate_free(static_cast<NiceCandidate*>(c)); });
  return found;
}

bool IceAgent::hold_others(IcePath& path) {
  for (const int fd : parked_sockets()) {
    if (fd == selected_.number || path.held.size() == kMaxHeldSockets) continue;
    NiceAddress peer;
    // A stranger's connection to our listener is not the peer's: it is closed with the agent.
    if (gate_.is_stranger(fd) || !name_of(getpeername, fd, peer) || !peers_address(peer)) continue;
    path.held.push_back(duplicate(fd));
    if (!path.held.back()) return false;
  }
  return true;
}

bool IceAgent::announce_hand_over(const IcePath& path) {
  if (!hand_over_.native || config_.controlling) return true;
  // The socket has carried a few STUN messages: its buffer takes six bytes, or it is broken.
  const ssize_t sent = send(path.socket.get(), kHandOverFrame.data(), kHandOverFrame.size(), MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(kHandOverFrame.size());
}

void IceAgent::fail(std::string why) {
  if (!failure_) failure_ = std::move(why);
  soon_.arm_in({});
}

void IceAgent::drop_agent() {
  if (parking_ == nullptr) return;
  bridge_.forget_descriptors();
  bridge_.remove_gate(gate_);
  if (agent_ != nullptr) {
    g_signal_handlers_disconnect_by_data(agent_, this);
    if (stream_ != 0) nice_agent_remove_stream(agent_, stream_);
    g_object_unref(agent_);
    agent_ = nullptr;
  }
  g_main_context_release(parking_);
  g_main_context_unref(parking_);
  parking_ = nullptr;
  use_.reset();
}

void IceAgent::deliver() {
  if (failure_) {
    state_ = State::kEnded;
    drop_agent();
    const auto call = callbacks_.on_failed;
    return call(*std::exchange(failure_, std::nullopt));
  }
  if (state_ == State::kEnded) return;
  if (gathered_pending_) return deliver_gathered();
  if (state_ == State::kParked) deliver_path();
}

void IceAgent::deliver_gathered() {
  gathered_pending_ = false;
  proto::IceDescription description{credentials_.local_ufrag, credentials_.local_pwd, {}};
  std::vector<NiceAddress> listeners;
  GSList* list = nice_agent_get_local_candidates(agent_, stream_, kIceComponent);
  for (GSList* i = list; i != nullptr; i = i->next) {
    const auto& candidate = *static_cast<NiceCandidate*>(i->data);
    if (auto ours = to_proto(candidate)) description.candidates.push_back(std::move(*ours));
    if (candidate.transport == NICE_CANDIDATE_TRANSPORT_TCP_PASSIVE) listeners.push_back(candidate.base_addr);
  }
  if (listeners.empty()) {
    // An active candidate needs no socket, so libnice always has one; but a peer refuses an offer of active ones alone.
    g_slist_free_full(list, [](gpointer c) { nice_candidate_free(static_cast<NiceCandidate*>(c)); });
    return fail("no listening socket could be opened on any local address");
  }
  // Before anybody is told of the ports. Should a scanner have hit one already, this attempt may fail.
  gate_.guard(std::move(listeners), credentials_.local_ufrag);
  g_slist_free_full(list, [](gpointer c) { nice_candidate_free(static_cast<NiceCandidate*>(c)); });
  if (config_.public_addresses) {
    auto seen_at = public_candidates(config_.public_addresses(), offered_);
    std::move(seen_at.begin(), seen_at.end(), std::back_inserter(description.candidates));
  }
  soon_.arm_in({});  // for what else may be due; before the call, which may destroy us
  const auto call = callbacks_.on_gathered;
  call(std::move(description));
}

void IceAgent::deliver_path() {
  state_ = State::kEnded;
  IcePath path;
  path.controlling = config_.controlling;
  path.local_type = selected_.local_type;
  path.remote_type = selected_.remote_type;
  path.local_ufrag = credentials_.local_ufrag;
  path.local_pwd = credentials_.local_pwd;
  path.remote_ufrag = credentials_.remote_ufrag;
  path.early = std::move(early_);
  bridge_.forget_descriptors();
  // Another socket takes libnice's number, so that nothing it still writes or shuts down while it goes reaches ours.
  const ipc::Fd dummy(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool held = dummy && hold_others(path);
  if (!held || dup3(dummy.get(), selected_.number, O_CLOEXEC) < 0) {
    return fail("no free file descriptor for the connection");
  }
  drop_agent();
  path.socket = std::move(selected_.socket);
  const int on = 1;
  const int flags = fcntl(path.socket.get(), F_GETFL);
  setsockopt(path.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(path.socket.get(), F_SETFL, flags | O_NONBLOCK);
  NiceAddress own;
  NiceAddress peer;
  if (!name_of(getsockname, path.socket.get(), own) || !name_of(getpeername, path.socket.get(), peer) ||
      !announce_hand_over(path)) {
    return fail("the selected connection was lost at once");
  }
  path.local = printable(own);
  path.remote = printable(peer);
  const auto call = callbacks_.on_path;
  call(std::move(path));
}

}  // namespace connd::daemon
