// SPDX-License-Identifier: GPL-3.0-or-later
/// hostile_peer DHT STATE-DIR [TLS-STATE-DIR]: a peer device that speaks the real protocols, real DHT, ICE and TLS, and
/// does at each stage what it is told, for tests of what a daemon makes of it. It presents TLS-STATE-DIR's identity in
/// TLS. Commands are lines on stdin, what happens are lines on stdout; both end with the words that tests wait for.
///
///   jami                 before `peer`: it looks like one of Jami's devices, and speaks their dialect
///   peer FILE            whom to deal with: a chain in PEM
///   call ID [FILE [FILE]]
///                        asks for a connection; FILEs have further candidate lines, before and behind its own
///   claim ID FILE        sends a request whose ICE text is FILE, and nothing more
///   again                sends the last request or answer once more
///   watch                answers no request, but tells its id
///   answer [FILE [FILE]] answers the next request, as `call` asks
///   forge ID FILE        sends an answer that nobody asked for
///   no-alpn              after `peer`: TLS without the name that both sides' `jc` has promised
///   pour CHANNEL BYTES [end]
///                        numbered messages on a channel of Jami's dialect (HostileLink::pour), beside other pours
///   tls · raw HEX · plain HEX · flood N HEX · pause · resume · quiet · live · count · quit
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "daemon/dht/dht_client.h"
#include "daemon/ice/ice_agent.h"
#include "ipc/fd.h"
#include "proto/signal.h"
#include "tests/peer/hostile_link.h"

namespace {

using namespace connd;
using namespace connd::daemon;

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

std::uint16_t free_udp_port() {
  const ipc::Fd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  socklen_t length = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return 0;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin6_port);
}

/// Files, or none.
struct FurtherLines {
  std::string before;
  std::string behind;
};

class HostilePeer {
 public:
  HostilePeer(const std::string& dht, const std::string& state, const std::string& tls_state)
      : tls_(context_of(tls_state)), stdin_(loop_, 0, [this](int) { read_commands(); }) {
    DhtConfig config;
    config.device_key_pem = read_file(state + "/identity/device.key");
    config.certificate_chain_pem = read_file(state + "/identity/chain.pem");
    config.bootstrap = {dht};
    config.lan_discovery = false;
    // Not the usual one of its key: on loopback the nodes of an earlier test, and of another DHT, may still know that.
    config.port = free_udp_port();
    DhtHandlers handlers;
    handlers.on_request = [this](const SignalMessage& request) { on_request(request); };
    handlers.on_state = [](DhtState dht_state) { say(std::string("dht ") + to_string(dht_state)); };
    dht_ = std::make_unique<DhtClient>(loop_, config, std::move(handlers));
    ::fcntl(0, F_SETFL, ::fcntl(0, F_GETFL) | O_NONBLOCK);
    stdin_.want(Poll::kReadable);
  }

  void run() { loop_.run(); }

 private:
  static proto::TlsContext context_of(const std::string& state) {
    auto identity =
        proto::Identity::load(read_file(state + "/identity/device.key"), read_file(state + "/identity/chain.pem"));
    if (!identity) throw std::runtime_error(state + ": " + identity.error().message());
    auto context = proto::TlsContext::create(*identity);
    if (!context) throw std::runtime_error(state + ": " + context.error().message());
    return *std::move(context);
  }

  void read_commands() {
    char part[65536];
    for (;;) {
      const ssize_t n = ::read(0, part, sizeof part);
      if (n == 0) return quit();
      if (n < 0) break;
      input_.append(part, static_cast<std::size_t>(n));
    }
    for (std::size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      std::istringstream line(input_.substr(0, end));
      input_.erase(0, end + 1);
      std::string verb;
      line >> verb;
      command(verb, line);
    }
    stdin_.want(Poll::kReadable);
  }

  void command(const std::string& verb, std::istringstream& line) {
    std::string first;
    std::string second;
    std::string third;
    line >> first >> second >> third;
    if (verb == "jami") return void(native_ = false);
    if (verb == "peer") return know_peer(first);
    if (verb == "call") return begin(false, std::stoull(first), {second, third});
    if (verb == "claim") return signal(std::stoull(first), read_file(second), false);
    if (verb == "forge") return signal(std::stoull(first), read_file(second), true);
    if (verb == "again") return send(last_, SignalKeys::kBoth);
    if (verb == "watch") return watch();
    if (verb == "answer") return arm_answer({first, second});
    if (verb == "no-alpn") return void(peer_.native_offered = peer_.native_demanded = false);
    if (verb == "quit") return quit();
    on_link(verb, first, second, third);
  }

  void on_link(const std::string& verb, const std::string& first, const std::string& second, const std::string& third) {
    if (!link_) return say("error no connection");
    if (verb == "tls") return link_->start_tls();
    if (verb == "raw") return link_->send_raw(test::from_hex(first));
    if (verb == "plain") return link_->send_plain(test::from_hex(first), 1);
    if (verb == "flood") return link_->send_plain(test::from_hex(second), std::stoull(first));
    if (verb == "pour")
      return link_->pour(static_cast<proto::WireId>(std::stoul(first)), std::stoull(second), third == "end");
    if (verb == "pause") return link_->pause(true);
    if (verb == "resume") return link_->pause(false);
    if (verb == "quiet") return link_->be_quiet();
    if (verb == "live") return link_->live();
    if (verb == "count") return say("count " + std::to_string(link_->received()));
    say("error " + verb);
  }

  void know_peer(const std::string& file) {
    auto chain = proto::CertificateChain::from_pem(read_file(file));
    if (!chain) return say("error " + chain.error().message());
    peer_key_ = chain->public_key_der();
    peer_.expected = chain->device_id();
    peer_.native_demanded = peer_.native_offered = native_;
    peer_.now_unix = static_cast<std::int64_t>(std::time(nullptr));
    say("known");
  }

  // ---- requests and answers ----

  void signal(std::uint64_t id, std::string text, bool is_answer) {
    proto::ConnectionRequest request;
    request.id = id;
    request.ice_text = std::move(text);
    request.is_answer = is_answer;
    if (native_) request.native_version = proto::ConnectionRequest::kNativeVersion;
    // As a daemon: an answer goes under one key. OpenDHT sends a large value in one burst, and twice as many datagrams
    // are more than the buffer of a receiver holds that is slow to read.
    send(request.encode(), is_answer ? SignalKeys::kLong : SignalKeys::kBoth);
  }

  void send(const proto::ByteVector& body, SignalKeys keys) {
    last_ = body;
    dht_->send_request(peer_key_, body, keys, [](bool stored) { say(stored ? "put" : "error put"); });
  }

  void on_request(const SignalMessage& incoming) {
    const auto request = proto::ConnectionRequest::decode(incoming.body);
    if (!request || incoming.signer != peer_.expected) return;
    if (request->is_answer) {
      if (!agent_ || remote_set_ || request->id != id_) return;
      const auto remote = proto::IceDescription::parse(request->ice_text);
      remote_set_ = remote.ok();
      if (remote) agent_->set_remote(*remote, native_);
      return say("answered");
    }
    if (watching_) return say("asked " + std::to_string(request->id));
    // It comes again when the answer seems lost: a large one is many datagrams. A daemon answers again, too.
    if (answered_ && request->id == id_) dht_->send_request(peer_key_, last_, SignalKeys::kLong, [](bool) {});
    if (!answering_ || request->id == id_) return;
    say("request " + std::to_string(request->id));
    const auto remote = proto::IceDescription::parse(request->ice_text);
    if (!remote) return;
    answering_ = false;
    begin(true, request->id, answer_lines_);
    remote_set_ = true;
    agent_->set_remote(*remote, native_);
  }

  void watch() {
    watching_ = true;
    say("watching");
  }

  void arm_answer(const FurtherLines& lines) {
    watching_ = false;
    answering_ = true;
    answer_lines_ = lines;
    say("answering");
  }

  void begin(bool callee, std::uint64_t id, const FurtherLines& lines) {
    id_ = id;
    answered_ = false;
    remote_set_ = false;
    IceConfig config;
    config.controlling = callee;
    IceCallbacks callbacks;
    callbacks.on_gathered = [this, callee, lines](const proto::IceDescription& local) {
      std::string text = local.to_text();
      // Behind the two credentials, before our own candidates.
      const std::size_t at = text.find('\n', text.find('\n') + 1) + 1;
      if (!lines.behind.empty()) text += read_file(lines.behind);
      if (!lines.before.empty()) text.insert(at, read_file(lines.before));
      signal(id_, text, callee);
      answered_ = callee;
    };
    callbacks.on_path = [this](IcePath path) {
      link_.reset();
      link_ = std::make_unique<test::HostileLink>(poller_, tls_, peer_, std::move(path), say);
      say("path");
      agent_.reset();
    };
    callbacks.on_failed = [](const std::string& why) { say("failed " + why); };
    agent_ = std::make_unique<IceAgent>(loop_, bridge_, std::move(config), std::move(callbacks));
    agent_->gather();
  }

  void quit() {
    link_.reset();
    agent_.reset();
    dht_->shutdown([this] {
      dht_.reset();
      loop_.stop();
    });
  }

  Loop loop_;
  EdgePoller poller_{loop_};
  GlibBridge bridge_{loop_};
  proto::TlsContext tls_;
  std::unique_ptr<DhtClient> dht_;
  std::unique_ptr<IceAgent> agent_;
  std::unique_ptr<test::HostileLink> link_;
  proto::TlsPeer peer_;
  proto::ByteVector peer_key_;
  proto::ByteVector last_;
  std::uint64_t id_ = 0;
  bool watching_ = false;
  bool native_ = true;
  bool answering_ = false;
  bool answered_ = false;  ///< the request `id_`, by `last_`
  bool remote_set_ = false;
  FurtherLines answer_lines_;
  std::string input_;
  Poll stdin_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: hostile_peer DHT STATE-DIR [TLS-STATE-DIR]\n");
    return 2;
  }
  try {
    HostilePeer peer(argv[1], argv[2], argv[argc - 1]);
    peer.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hostile_peer: %s\n", error.what());
    return 1;
  }
  return 0;
}
