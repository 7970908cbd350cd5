// SPDX-License-Identifier: GPL-3.0-or-later
/// load_peers DHT IDENTITIES DAEMON-CHAIN N: N devices in one process, each with an identity, ICE, TLS and a mux of its
/// own, that connect to one daemon. Their signalling is real, over one node of the DHT.
///
/// Identities are devices of one account; those that are missing in the directory IDENTITIES are made first. Prints
/// `ready`; then, for each line of standard input:
///   ids                 `id HEX` for each device, and `ids`
///   connect URI LANES   each opens a channel, LANES of them at one time; `connected N SECONDS`
///   open URI COUNT      each opens COUNT more, all at once; `opened N SECONDS`
///   echo BYTES          on each channel at once; what comes back has to be the same; `echoed N SECONDS`
///   close               all channels; `closed`
///   leave               all connections; `left`
///   quit
/// What fails is said as `error TEXT`, and not counted.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <sstream>
#include <thread>

#include <sys/socket.h>

#include "daemon/connection/connection_manager.h"
#include "daemon/system/atomic_file.h"
#include "tests/daemon/temp_dir.h"
#include "tests/peer/load_dht.h"

namespace {

using namespace connd;
using namespace connd::daemon;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

template <class T>
T expect(T outcome, const std::string& what) {
  if (!outcome) throw std::runtime_error("cannot " + what);
  return outcome;
}

std::string read_text(const std::string& path) {
  const auto bytes = expect(read_bounded(path, 1 << 20), "read " + path);
  if (!*bytes) return {};
  return {(*bytes)->begin(), (*bytes)->end()};
}

void write_text(const std::string& path, std::string_view text) {
  (void)expect(write_atomically(path, proto::as_bytes(text), 0600, Durability::kCached), "write " + path);
}

// ---- identities

struct DeviceFiles {
  std::string key_pem;
  std::string chain_pem;
};

/// A directory of devices of one account: account.key, chain.pem (the first device's), N.key and N.pem.
class IdentityShelf {
 public:
  explicit IdentityShelf(std::string directory) : directory_(std::move(directory)) {}

  std::vector<DeviceFiles> take(std::size_t count) {
    make_account();
    std::vector<DeviceFiles> out(count);
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> makers;  // a key takes a tenth of a second
    for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
      makers.emplace_back([&] {
        for (std::size_t n = next++; n < count; n = next++) out[n] = device(n);
      });
    }
    for (auto& maker : makers) maker.join();
    return out;
  }

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }

  static proto::Validity validity() {
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    return {now - 86'400, now + 10LL * 365 * 86'400};
  }

  void make_account() {
    ::mkdir(directory_.c_str(), 0700);
    if (read_text(path("account.key")).empty()) {
      proto::IdentityOptions options;
      options.rsa_bits = 2048;
      options.validity = validity();
      const auto made = expect(proto::generate_identity(options), "make an account");
      write_text(path("chain.pem"), made->chain_pem);
      write_text(path("account.key"), made->account_key_pem.view());
    }
    account_key_ = read_text(path("account.key"));
    account_ =
        *expect(expect(proto::CertificateChain::from_pem(read_text(path("chain.pem"))), "read chain.pem")->issuers(),
                "find the account");
  }

  DeviceFiles device(std::size_t n) {
    const std::string name = std::to_string(n);
    DeviceFiles files{read_text(path(name + ".key")), read_text(path(name + ".pem"))};
    if (!files.chain_pem.empty()) return files;
    const auto key = expect(proto::generate_private_key(2048), "make a key");
    const auto public_key = expect(proto::public_key_der_from(key->view()), "read a key");
    const auto chain =
        expect(proto::issue_device_certificate(account_key_, *account_, *public_key, "load " + name, validity()),
               "certify a device");
    files = {std::string(key->view()), chain->pem()};
    write_text(path(name + ".key"), files.key_pem);
    write_text(path(name + ".pem"), files.chain_pem);
    return files;
  }

  std::string directory_;
  std::string account_key_;
  std::optional<proto::CertificateChain> account_;
};

// ---- channels

/// The app's end of a channel.
class LoadChannel {
 public:
  LoadChannel(Loop& loop, ipc::Fd fd) : fd_(std::move(fd)), poll_(loop, fd_.get(), [this](int) { go_on(); }) {}

  /// `done` says whether all came back as it was.
  void echo(std::string text, std::function<void(bool)> done) {
    text_ = std::move(text);
    sent_ = 0;
    got_.clear();
    done_ = std::move(done);
    poll_.want(Poll::kReadable | Poll::kWritable);
  }

 private:
  void go_on() {
    char part[16384];
    ssize_t n = 0;
    while ((n = ::recv(fd_.get(), part, sizeof part, MSG_DONTWAIT)) > 0) got_.append(part, static_cast<std::size_t>(n));
    const bool ended = n == 0 || (n < 0 && errno != EAGAIN);
    while (!ended && sent_ < text_.size() &&
           (n = ::send(fd_.get(), text_.data() + sent_, text_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
      sent_ += static_cast<std::size_t>(n);
    if (!ended && got_.size() < text_.size()) {
      return poll_.want(sent_ < text_.size() ? Poll::kReadable | Poll::kWritable : Poll::kReadable);
    }
    poll_.want(0);
    const auto done = std::move(done_);
    if (done) done(got_ == text_);
  }

  ipc::Fd fd_;
  Poll poll_;
  std::string text_;
  std::string got_;
  std::size_t sent_ = 0;
  std::function<void(bool)> done_;
};

// ---- peers

/// What all of them share.
struct World {
  World(const std::string& bootstrap, proto::CertificateChain daemon_chain)
      : dht(loop, bootstrap), daemon(std::move(daemon_chain)) {}

  Loop loop;
  EdgePoller poller{loop};
  TurnQueue turns{loop};
  GlibBridge bridge{loop};
  PumpScratch scratch;
  HandleSources handles;
  test::TempDir directory;
  Stores stores = std::move(*expect(Stores::open(directory.path()), "open stores"));
  EventHub events;
  test::LoadDht dht;
  proto::CertificateChain daemon;
};

class LoadPeer final : private Signalling, private ChannelApps, private ConnectionAsker {
 public:
  LoadPeer(World& world, const DeviceFiles& files)
      : world_(world),
        identity_(std::move(*expect(proto::Identity::load(files.key_pem, files.chain_pem), "load an identity"))),
        signing_key_(std::make_shared<dht::crypto::PrivateKey>(std::string_view(files.key_pem))) {
    auto tls = expect(proto::TlsContext::create(identity_), "set TLS up");
    const ConnectionContext connections{world.loop, world.poller, world.turns, world.scratch, world.handles};
    const ConnectionManager::Context context{connections,  world.bridge, *this, world.stores,
                                             world.events, *this,        *this};
    manager_ = std::make_unique<ConnectionManager>(context, ConnectionManager::Settings{}, id(), std::move(*tls));
    world.dht.hear(id(), std::make_shared<dht::crypto::PrivateKey>(std::string_view(files.key_pem)),
                   [this](const SignalMessage& message) { manager_->on_signal(message); });
  }

  [[nodiscard]] proto::DeviceId id() const { return identity_.chain.device_id(); }

  void open(const std::string& uri, std::function<void(bool)> done) {
    OpenRequest request{world_.daemon.device_id(), uri, false, {}, std::chrono::minutes(5)};
    const auto opened = [this, done](OpenResult result) {
      if (auto* channel = std::get_if<OpenedChannel>(&result)) {
        channels_.push_back(std::make_unique<LoadChannel>(world_.loop, std::move(channel->fd)));
        return done(true);
      }
      say_error(std::get<OpenError>(result));
      done(false);
    };
    const auto started = manager_->open(std::move(request), opened);
    if (const auto* error = std::get_if<OpenError>(&started)) {
      say_error(*error);
      world_.loop.post([done] { done(false); });
    }
  }

  std::vector<std::unique_ptr<LoadChannel>>& channels() { return channels_; }

  /// Nobody will call, and no answer is awaited.
  void stop_hearing() { world_.dht.forget(id()); }
  void leave(std::function<void()> done) { manager_->shut_down(std::move(done)); }

 private:
  void say_error(const OpenError& error) {
    say("error " + id().abbreviated() + " " + std::string(proto::reason_name(error.reason)) + " " + error.text);
  }

  void find_chain(const proto::DeviceId&, const std::optional<proto::ShortDeviceId>&, proto::TimePoint, ChainUse,
                  ChainWanted, std::function<void(std::optional<proto::CertificateChain>)> done) override {
    world_.loop.post([this, done = std::move(done)] { done(world_.daemon); });
  }
  void find_devices(const proto::AccountId&, proto::TimePoint,
                    std::function<void(const std::optional<FoundDevice>&)> found) override {
    world_.loop.post([found = std::move(found)] { found(std::nullopt); });
  }
  void send(const SignalTarget& target, proto::Bytes body) override {
    if (target.keys != SignalKeys::kNone) world_.dht.send(signing_key_, target.public_key, body, SignalKeys::kLong);
  }
  void listen_pairs(const std::vector<proto::PairListen>&) override {}
  void on_channel_requested(const IncomingChannel& request) override {
    manager_->channels().refuse(request.channel, proto::Reason::kDeclined, {});
  }
  void on_channel_request_cancelled(proto::ChannelHandle, proto::Reason) override {}
  void on_channel_closed(const ChannelEnd&) override {}
  bool ask_connection(const Question&) override { return false; }
  void connection_question_over(std::uint64_t) override {}

  World& world_;
  const proto::Identity identity_;
  const std::shared_ptr<dht::crypto::PrivateKey> signing_key_;  // second owner: the pool, while it signs
  std::unique_ptr<ConnectionManager> manager_;
  std::vector<std::unique_ptr<LoadChannel>> channels_;
};

// ---- what standard input says

class Load {
 public:
  Load(const std::string& bootstrap, const std::string& chain_file, const std::vector<DeviceFiles>& devices)
      : world_(bootstrap,
               std::move(*expect(proto::CertificateChain::from_pem(read_text(chain_file)), "read the chain"))),
        stdin_(world_.loop, 0, [this](int) { read_commands(); }) {
    for (const auto& files : devices) peers_.push_back(std::make_unique<LoadPeer>(world_, files));
    ::fcntl(0, F_SETFL, ::fcntl(0, F_GETFL) | O_NONBLOCK);
    stdin_.want(Poll::kReadable);
    say("ready");
  }

  void run() { world_.loop.run(); }

 private:
  void read_commands() {
    char part[4096];
    ssize_t n = 0;
    while ((n = ::read(0, part, sizeof part)) > 0) input_.append(part, static_cast<std::size_t>(n));
    if (n == 0) return world_.loop.stop();
    for (std::size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      std::istringstream line(input_.substr(0, end));
      input_.erase(0, end + 1);
      command(line);
    }
  }

  void command(std::istringstream& line) {
    std::string verb;
    line >> verb;
    if (verb == "ids") {
      for (const auto& peer : peers_) say("id " + peer->id().hex());
      return say("ids");
    }
    if (verb == "quit") return world_.loop.stop();
    if (verb == "connect") {
      std::size_t lanes = 1;
      line >> uri_ >> lanes;
      begin("connected", peers_.size());
      next_ = 0;
      for (std::size_t i = 0; i < std::min(lanes, peers_.size()); ++i) connect_next();
    } else if (verb == "open") {
      std::size_t count = 0;
      line >> uri_ >> count;
      begin("opened", peers_.size() * count);
      for (const auto& peer : peers_) {
        for (std::size_t i = 0; i < count; ++i) peer->open(uri_, [this](bool ok) { count_one(ok); });
      }
    } else if (verb == "echo") {
      std::size_t bytes = 0;
      line >> bytes;
      echo(bytes);
    } else if (verb == "close") {
      for (const auto& peer : peers_) peer->channels().clear();
      say("closed");
    } else if (verb == "leave") {
      begin("left", peers_.size());
      for (const auto& peer : peers_) peer->leave([this] { count_one(true); });
    } else {
      say("error no such command: " + verb);
    }
  }

  void connect_next() {
    if (next_ == peers_.size()) return;
    LoadPeer& peer = *peers_[next_++];
    peer.open(uri_, [this, &peer](bool ok) {
      peer.stop_hearing();
      count_one(ok);
      connect_next();
    });
  }

  void echo(std::size_t bytes) {
    std::size_t channels = 0;
    for (const auto& peer : peers_) channels += peer->channels().size();
    begin("echoed", channels);
    for (const auto& peer : peers_) {
      for (auto& channel : peer->channels()) {
        const std::string mark = std::to_string(++mark_) + " ";  // no two channels send the same
        std::string text;
        while (text.size() < bytes) text += mark;
        text.resize(bytes);
        channel->echo(std::move(text), [this](bool ok) {
          if (!ok) say("error an echo that is another, or ends");
          count_one(ok);
        });
      }
    }
  }

  void begin(const char* what, std::size_t count) {
    what_ = what;
    left_ = count;
    good_ = 0;
    begun_ = std::chrono::steady_clock::now();
    if (count == 0) say_end();
  }
  void count_one(bool ok) {
    good_ += ok ? 1 : 0;
    if (--left_ == 0) say_end();
  }
  void say_end() {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun_;
    say(what_ + " " + std::to_string(good_) + " " + std::to_string(seconds.count()));
  }

  World world_;
  Poll stdin_;
  std::vector<std::unique_ptr<LoadPeer>> peers_;
  std::string input_;
  std::string uri_;
  std::string what_;
  std::size_t next_ = 0;
  std::size_t left_ = 0;
  std::size_t good_ = 0;
  std::uint64_t mark_ = 0;
  std::chrono::steady_clock::time_point begun_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: load_peers DHT IDENTITIES DAEMON-CHAIN N\n");
    return 2;
  }
  try {
    const auto devices = IdentityShelf(argv[2]).take(std::stoul(argv[4]));
    Load(argv[1], argv[3], devices).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load_peers: %s\n", error.what());
    return 1;
  }
  return 0;
}
