// SPDX-License-Identifier: GPL-3.0-or-later
/// junk_peers VICTIM CHAIN COUNT ADDRESS…: strangers who send requests to a daemon that knows none of them.
///
/// A node of the DHT and a key for each ADDRESS, an IPv4 address of this machine; VICTIM (ADDRESS:PORT) is the daemon's
/// own node, and nothing is sent to any other, so that what is measured is the daemon and not the nodes between. COUNT
/// requests in all, each with an id of its own, sealed to the key of CHAIN (PEM) beforehand. Prints `sealed`, and
/// `connected` when each node is; then, for each line of standard input:
///   send RATE N  N of them, RATE a second; `sent N SECONDS`
///   junk RATE N  the same of values that nobody has sealed: it takes a private key to see that (COUNT: one for each
///   ADDRESS) quit
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>

#include <arpa/inet.h>
#include <sys/resource.h>

#include "daemon/dht/dht_setup.h"
#include "proto/signal.h"

namespace {

using namespace connd;
using namespace connd::daemon;

using Clock = std::chrono::steady_clock;

constexpr int kNice = 19;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

dht::SockAddr address_of(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) throw std::runtime_error("no address: " + host);
  return {reinterpret_cast<const sockaddr*>(&address), sizeof address};
}

/// Sends to one address, and says that there is no way to others, whom OpenDHT then forgets at once: if it waited for
/// their answers, what is put meanwhile would leave in one burst, more than the victim's node takes of an address. It
/// says that it is a client, which is nobody's neighbour: nodes that are mute to others would be in the way of what
/// they look for, and that is another matter.
class NarrowSocket final : public dht::net::UdpSocket {
 public:
  NarrowSocket(const std::string& own, const dht::SockAddr& only) : UdpSocket(address_of(own, 0), {}), only_(only) {}
  int sendTo(const dht::SockAddr& to, const std::uint8_t* data, std::size_t size, bool replied) override {
    if (to != only_) return EHOSTUNREACH;
    // A msgpack map of up to 14 members: one more, `s` (client), which is true.
    if (size == 0 || data[0] < 0x80 || data[0] >= 0x8f) return UdpSocket::sendTo(to, data, size, replied);
    std::vector<std::uint8_t> more(data, data + size);
    ++more[0];
    more.insert(more.end(), {0xa1, 's', 0xc3});
    return UdpSocket::sendTo(to, more.data(), more.size(), replied);
  }

 private:
  const dht::SockAddr only_;
};

/// One stranger.
class Stranger {
 public:
  Stranger() : key_(std::make_shared<dht::crypto::PrivateKey>(dht::crypto::PrivateKey::generate(2048))) {}
  ~Stranger() { runner_.join(); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  /// After seal(). Its threads are as nice as the caller.
  void join(const std::string& own, const dht::SockAddr& victim) {
    DhtConfig config;
    config.lan_discovery = false;
    dht::DhtRunner::Context context;
    context.sock = std::make_unique<NarrowSocket>(own, victim);
    context.statusChangedCallback = [this](dht::NodeStatus v4, dht::NodeStatus) {
      connected_ = v4 == dht::NodeStatus::Connected;
      connected_.notify_all();
    };
    auto runner_config = dht_runner_config(config, {});
    // Far from where the requests are put: a value goes to the nodes that are nearest to it, of which the victim is to
    // be one, and not to strangers.
    auto& id = runner_config.dht_config.node_config.node_id;
    id = dht::InfoHash::getRandom();
    id[0] = static_cast<std::uint8_t>(~at_[0]);
    runner_.run(runner_config, std::move(context));
    runner_.bootstrap(victim);
  }

  void wait_connected() const { connected_.wait(false); }

  /// On any one thread.
  void seal(const proto::ByteVector& victim_key, std::uint64_t id) {
    proto::ConnectionRequest request;
    request.id = id;
    request.ice_text = "junk\n0123456789012345678901\n";
    request.native_version = proto::ConnectionRequest::kNativeVersion;
    Sealing sealing;
    sealing.key = key_;
    sealing.peer_key_der = victim_key;
    sealing.body = request.encode();
    sealing.keys = SignalKeys::kLong;
    sealing.run();
    if (sealing.at.empty()) throw std::runtime_error("cannot seal to the victim's key");
    at_ = sealing.at.front();
    auto value = std::make_shared<dht::Value>(sealing.id);
    value->setCypher(std::move(sealing.cypher));
    sealed_.push_back(std::move(value));
  }

  void send_one() {
    runner_.put(at_, std::move(sealed_.back()));
    sealed_.pop_back();
  }

  /// As long as a request that has a few candidates.
  void send_junk() {
    dht::Blob junk(600);
    for (std::size_t i = 0; i < junk.size(); i += sizeof(std::uint64_t)) {
      const std::uint64_t number = random_();
      std::memcpy(junk.data() + i, &number, sizeof number);
    }
    junk[0] = 0;  // below any modulus
    auto value = std::make_shared<dht::Value>(random_value_id());
    value->setCypher(std::move(junk));
    runner_.put(at_, std::move(value));
  }

 private:
  std::shared_ptr<dht::crypto::PrivateKey> key_;
  dht::InfoHash at_;
  std::vector<std::shared_ptr<dht::Value>> sealed_;
  std::atomic<bool> connected_{false};
  std::mt19937_64 random_{std::random_device{}()};
  dht::DhtRunner runner_;
};

using Strangers = std::vector<std::unique_ptr<Stranger>>;

/// One after the other takes its turn.
std::uint64_t share_of(std::size_t stranger, std::uint64_t count, std::size_t strangers) {
  return (count + strangers - 1 - stranger) / strangers;
}

void seal_all(Strangers& strangers, const proto::ByteVector& victim_key, std::uint64_t count) {
  std::vector<std::thread> threads;
  const std::size_t hands = std::max(1u, std::thread::hardware_concurrency());
  for (std::size_t hand = 0; hand < hands; ++hand) {
    threads.emplace_back([&, hand] {
      for (std::size_t i = hand; i < strangers.size(); i += hands) {
        for (std::uint64_t n = share_of(i, count, strangers.size()); n > 0; --n) {
          strangers[i]->seal(victim_key, i << 32 | n);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

void send_some(Strangers& strangers, std::uint64_t count, std::uint64_t rate, void (Stranger::*send)()) {
  static std::size_t turn = 0;
  const auto began = Clock::now();
  for (std::uint64_t sent = 0; sent < count; ++sent) {
    std::this_thread::sleep_until(began + std::chrono::nanoseconds(1'000'000'000 / rate * sent));
    (*strangers[turn++ % strangers.size()].*send)();
  }
  const std::chrono::duration<double> took = Clock::now() - began;
  say("sent " + std::to_string(count) + " " + std::to_string(took.count()));
}

void run(const std::vector<std::string>& words) {
  std::ifstream in(words[1]);
  const auto chain = proto::CertificateChain::from_pem(std::string(std::istreambuf_iterator<char>(in), {}));
  if (!chain) throw std::runtime_error(words[1] + ": " + chain.error().message());
  const auto [host, port] = parse_bootstrap(words[0]);
  const auto victim = address_of(host, static_cast<std::uint16_t>(std::stoul(port)));
  std::uint64_t left = std::stoull(words[2]);

  Strangers strangers;
  while (strangers.size() + 3 < words.size()) strangers.push_back(std::make_unique<Stranger>());
  seal_all(strangers, chain->public_key_der(), left);
  say("sealed");
  // Strangers have machines of their own; here they shall not take from the daemon what it would have beside them.
  (void)::setpriority(PRIO_PROCESS, 0, kNice);
  for (std::size_t i = 0; i < strangers.size(); ++i) strangers[i]->join(words[i + 3], victim);
  for (const auto& stranger : strangers) stranger->wait_connected();
  say("connected");
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream command(line);
    std::string verb;
    std::uint64_t rate = 0;
    std::uint64_t count = 0;
    command >> verb >> rate >> count;
    const bool sealed = verb == "send";
    if ((!sealed && verb != "junk") || rate == 0 || (sealed && count > left)) break;
    send_some(strangers, count, rate, sealed ? &Stranger::send_one : &Stranger::send_junk);
    if (sealed) left -= count;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: junk_peers VICTIM CHAIN COUNT ADDRESS…\n");
    return 2;
  }
  try {
    run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "junk_peers: %s\n", error.what());
    return 1;
  }
  return 0;
}
