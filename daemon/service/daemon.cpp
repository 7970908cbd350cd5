// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/daemon.h"

#include <csignal>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/service/end_watch.h"
#include "daemon/service/part_settings.h"
#include "daemon/system/crash_brake.h"
#include "daemon/system/log.h"
#include "ipc/control_socket.h"

namespace connd::daemon {
namespace {

constexpr const char* kLingerHint = "'loginctl enable-linger' keeps the user's services running";

/// The system's service is a service of the system's manager, or has the system's socket, and runs as whatever user it
/// was given; every other one belongs to its user. A manager gives directories; only those of users set XDG_RUNTIME_DIR
/// (systemd.exec).
bool is_system_service(const std::string& socket, const Environment& environment) {
  const bool given = !environment.get("RUNTIME_DIRECTORY").empty() || !environment.get("STATE_DIRECTORY").empty();
  const bool by_manager = given && environment.get("XDG_RUNTIME_DIR").empty();
  return by_manager || socket == ipc::kSystemSocketPath;
}

Outcome<ControlListener> make_listener(const Config& config, const Environment& environment, ClientAccess& access) {
  auto passed = ControlListener::from_systemd();
  if (!passed) return passed.failure();
  auto socket = resolve_socket(config.socket, environment);
  const std::string path = socket ? *socket : std::string();
  access = is_system_service(path, environment) ? ClientAccess::system_service() : ClientAccess::user_service();
  if (*passed) return std::move(**passed);
  if (!socket) return socket.failure();
  return ControlListener::bind({path, access.socket_mode(), access.users});
}

}  // namespace

Outcome<std::unique_ptr<Daemon>> Daemon::create(const Config& config, const Environment& environment,
                                                std::function<Outcome<Config>()> read_again) {
  auto fds = raise_fd_limit(config.max_channels);
  if (!fds) return fds.failure();
  auto path = resolve_state_dir(config.state_dir, environment);
  if (!path) return path.failure();
  auto state = StateDir::open(*path);
  if (!state) return state.failure();
  auto stores = Stores::open(state->path());
  if (!stores) return stores.failure();
  IpcSettings ipc = ipc_settings(config, *fds);
  auto listener = make_listener(config, environment, ipc.access);
  if (!listener) return listener.failure();
  Ground ground{*fds, std::move(*state), std::move(*stores), std::move(ipc), std::move(*listener)};
  return std::unique_ptr<Daemon>(new Daemon(config, environment, std::move(ground), std::move(read_again)));
}

Daemon::Daemon(const Config& config, const Environment& environment, Ground ground, Reloader::Read read_again)
    : config_(config),
      environment_(environment),
      fds_(ground.fds),
      state_dir_(std::move(ground.state)),
      stores_(std::move(ground.stores)),
      view_({loop_, config_, fds_, identity_, network_, reloader_, state_watch_, monitor_, end_}),
      ipc_({loop_, stores_, events_, view_}, std::move(ground.ipc), std::move(ground.listener)),
      network_({loop_, parts_, stores_, events_, ipc_, config_, fds_, state_dir_.path(), disk_},
               [this](const std::string& text) { fail(text); }),
      identity_(loop_, state_dir_.path(), stores_,
                {[this] { on_identity(); }, [this](const std::string& text) { fail(text); },
                 [this] { on_identity_replaced(); }}),
      reloader_(loop_, config_, std::move(read_again), [this] { take_settings(); }),
      monitor_(
          loop_, [this](const auto& addresses) { on_addresses(addresses); }, [this] { on_network_stirred(); }),
      state_watch_(loop_, state_dir_.path()),
      end_(loop_, end_steps(), [this] { loop_.stop(); }) {
  stores_.use(disk_, [this] { network_.lists_changed(); });
}

Daemon::~Daemon() = default;

int Daemon::run() {
  const SignalWatcher sigterm(loop_, SIGTERM, [this] { stop(); });
  const SignalWatcher sigint(loop_, SIGINT, [this] { stop(); });
  const SignalWatcher sighup(loop_, SIGHUP, [this] { reloader_.reload(); });
  const CrashBrake brake = CrashBrake::begin(state_dir_.file("run"), CrashBrake::Clocks::now());
  hold_back(brake);
  identity_.load();
  // The control socket listens: what is not there yet is a state, and clients can ask for it.
  ServiceManager::ready();
  spdlog::info("jami-connd version={} state-dir={} max-channels={}", CONND_VERSION, state_dir_.path(),
               fds_.max_channels);
  ends_with_login_ = ServiceManager::ends_with_login(environment_);
  if (ends_with_login_) spdlog::info("it ends with the last session of its user: {}", kLingerHint);
  loop_.run();
  network_.close();
  brake.ended();
  return exit_code_;
}

void Daemon::hold_back(const CrashBrake& brake) {
  const auto pause = brake.pause(config_.crash_pause);
  if (pause.count() == 0) return;
  std::string why =
      fmt::format("it has ended {} times in a row without a proper end (killed, or a crash)", brake.ends());
  spdlog::warn("{}: it joins the network in {} s", why, pause.count());
  network_.hold_back(pause, std::move(why));
}

void Daemon::on_identity() {
  const LoadedIdentity& identity = *identity_.get();
  ipc_.set_identity(identity_.keeper());
  network_.join(identity);
  const proto::CertificateChain& chain = identity.identity.chain;
  events_.publish("identity.ready", {{"device", chain.device_id().hex()}, {"account", chain.account_id().hex()}});
}

/// Connections end properly, as at the end of the daemon; then all begins anew with the identity that is on the disk.
void Daemon::on_identity_replaced() {
  if (end_.begun()) return;
  spdlog::info("another identity: the network starts anew");
  network_.leave([this] {
    ipc_.set_identity(nullptr);  // until it is loaded anew: a change meanwhile would start a second network
    if (!end_.begun()) identity_.load();
  });
}

void Daemon::on_addresses(const std::vector<std::string>& addresses) {
  if (!end_.begun()) network_.on_addresses(addresses);
}

void Daemon::on_network_stirred() {
  if (!end_.begun()) network_.on_stirred();
}

/// The configuration has been read again.
void Daemon::take_settings() {
  set_up_logging(config_.log_level, environment_);
  ipc_.set_settings(ipc_settings(config_, fds_));
  network_.take_settings();
}

// ---- the end ----

/// Connections first, so that peers and apps see a proper end; then the disk, so that who has changed something hears
/// that it is there; then the clients, who are told of the end; then the DHT; and what has been written meanwhile.
std::vector<EndSequence::Step> Daemon::end_steps() {
  using Through = std::function<void()>;
  return {{"connections", [this](Through through) { network_.end_connections(std::move(through)); }},
          {"disk", [this](Through through) { disk_.when_idle(std::move(through)); }},
          {"clients", [this](Through through) { ipc_.shut_down(std::move(through)); }},
          {"DHT", [this](Through through) { network_.end_dht(std::move(through)); }},
          {"disk", [this](Through through) { disk_.when_idle(std::move(through)); }}};
}

void Daemon::stop() {
  if (end_.begun()) return;
  if (ends_with_login_) {
    spdlog::info("stopping; if that is because of a logout: {}", kLingerHint);
  } else {
    spdlog::info("stopping");
  }
  ServiceManager::stopping();
  identity_.stop();
  reloader_.stop();
  end_in(kEndTime);
  end_.begin(kOrderlyEndTime);
}

void Daemon::fail(const std::string& text) {
  spdlog::error("{}", text);
  exit_code_ = 1;
  stop();
}

}  // namespace connd::daemon
