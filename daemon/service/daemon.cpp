// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/daemon.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <ctime>

#include <spdlog/fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "daemon/local_api/status_values.h"
#include "daemon/service/daemon_network.h"
#include "daemon/service/end_watch.h"
#include "daemon/service/reload.h"
#include "daemon/settings/options.h"
#include "daemon/system/atomic_file.h"
#include "daemon/system/crash_brake.h"
#include "daemon/system/log.h"
#include "daemon/trust/certificate_text.h"
#include "ipc/control_socket.h"

namespace connd::daemon {
namespace {

/// A DHT port that is taken may be free again; the daemon is of use without a network meanwhile.
constexpr proto::Duration kNetworkRetry = std::chrono::seconds(10);
/// A disk that is full at the first start: the keys are made when there is room for them.
constexpr proto::Duration kIdentityRetry = std::chrono::seconds(5);

/// In the state directory: the number of the front door's port, if it was chosen.
constexpr const char* kPortFile = "port";

/// 0: there is none, or it is none.
std::uint16_t read_port(const std::string& path) {
  const auto bytes = read_bounded(path, 16);
  if (!bytes || !*bytes) return 0;
  const std::string_view text = proto::as_text(**bytes);
  std::uint16_t port = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), port);
  return port;
}

constexpr const char* kLingerHint = "'loginctl enable-linger' keeps the user's services running";

std::int64_t unix_now() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

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
  std::unique_ptr<Daemon> daemon(new Daemon(config, environment, *fds, std::move(*state), std::move(*stores),
                                            std::move(ipc), std::move(*listener)));
  daemon->read_again_ = std::move(read_again);
  return daemon;
}

Daemon::Daemon(Config config, Environment environment, FdLimits fds, StateDir state, Stores stores, IpcSettings ipc,
               ControlListener listener)
    : config_(std::move(config)),
      environment_(std::move(environment)),
      fds_(fds),
      state_dir_(std::move(state)),
      stores_(std::move(stores)),
      started_(loop_.now()),
      ipc_({loop_, stores_, events_, *this}, std::move(ipc), std::move(listener)),
      retry_(loop_, [this] { retry(); }),
      end_(loop_,
           [this] {
             spdlog::warn("not all has ended in time: what is left of it is left");
             loop_.stop();
           }),
      own_dates_(loop_, [this] { check_own_certificate(); }),
      monitor_(
          loop_, [this](const auto& addresses) { on_addresses(addresses); }, [this] { on_network_stirred(); }),
      state_watch_(loop_, state_dir_.path()) {
  remembered_port_ = read_port(state_dir_.file(kPortFile));
  stores_.use(disk_, [this] {
    if (network_) network_->manager->lists_changed();
  });
}

Daemon::~Daemon() = default;

int Daemon::run() {
  sigterm_.emplace(loop_, SIGTERM, [this] { stop(); });
  sigint_.emplace(loop_, SIGINT, [this] { stop(); });
  sighup_.emplace(loop_, SIGHUP, [this] { reload(); });
  const CrashBrake brake = CrashBrake::begin(state_dir_.file("run"), CrashBrake::Clocks::now());
  if (const auto pause = brake.pause(config_.crash_pause); pause.count() > 0) {
    join_at_ = loop_.now() + pause;
    pause_reason_ =
        fmt::format("it has ended {} times in a row without a proper end (killed, or a crash)", brake.ends());
    spdlog::warn("{}: it joins the network in {} s", pause_reason_, pause.count());
  }
  load_identity();
  // The control socket listens: what is not there yet is a state, and clients can ask for it.
  ServiceManager::ready();
  spdlog::info("jami-connd version={} state-dir={} max-channels={}", CONND_VERSION, state_dir_.path(),
               fds_.max_channels);
  ends_with_login_ = ServiceManager::ends_with_login(environment_);
  if (ends_with_login_) spdlog::info("it ends with the last session of its user: {}", kLingerHint);
  loop_.run();
  ipc_.set_manager(nullptr);
  network_.reset();
  brake.ended();
  return exit_code_;
}

// ---- identity and network ----

void Daemon::load_identity() {
  IdentityStoreOptions options;
  options.now_unix = unix_now();
  options.sign = sign_announcement;
  load_or_generate_identity(loop_, state_dir_.path(), options,
                            [this](Outcome<LoadedIdentity> loaded) { on_identity(std::move(loaded)); });
}

void Daemon::on_identity(Outcome<LoadedIdentity> loaded) {
  if (stopping_) return;
  if (!loaded && waits_for_disk(loaded.failure())) {
    // Ending would change nothing: who starts us again would meet the same.
    const std::string before =
        std::exchange(problem_, "there is no identity yet: " + loaded.failure().text + ": tried again every 5 s");
    if (problem_ != before) spdlog::error("{}", problem_);
    retry_.arm_in(kIdentityRetry);
    return;
  }
  if (!loaded) return fail(loaded.failure().text);
  problem_.clear();
  identity_ = std::move(*loaded);
  ++identities_;
  keeper_.emplace(loop_, state_dir_.path(), *identity_, stores_, [this] { on_identity_replaced(); });
  ipc_.set_identity(&*keeper_);
  const proto::CertificateChain& chain = identity_->identity.chain;
  spdlog::info("identity device={} account={}", chain.device_id().hex(), chain.account_id().hex());
  check_own_certificate();
  join_network();
  events_.publish("identity.ready", {{"device", chain.device_id().hex()}, {"account", chain.account_id().hex()}});
}

/// Peers judge it by their clocks; ours may be wrong, and they cannot say so.
std::optional<std::string> Daemon::own_certificate_problem() const {
  if (!identity_) return std::nullopt;
  const auto dates = identity_->identity.chain.validity();
  if (!dates) return std::nullopt;
  return connd::daemon::own_certificate_problem(*dates, unix_now());
}

void Daemon::check_own_certificate() {
  if (const auto problem = own_certificate_problem()) spdlog::warn("{}", *problem);
  own_dates_.arm_in(kDatesInterval);
}

void Daemon::retry() {
  return identity_ ? begin_network() : load_identity();
}

void Daemon::join_network() {
  if (loop_.now() >= join_at_) return begin_network();
  retry_.arm(join_at_);
}

/// The device's key is read from its text, and the nodes that were known from the disk: on the pool.
void Daemon::begin_network() {
  // Two owners, the work and its end, which follow each other.
  const auto beginning = std::make_shared<Outcome<std::shared_ptr<const DhtBeginning>>>(nullptr);
  loop_.post_work(
      [beginning, config = dht_config(*identity_)] {
        try {
          *beginning = read_dht_beginning(config);
        } catch (const std::exception& e) {
          *beginning = invalid(e.what());
        }
      },
      [this, beginning, of = identities_] {
        if (!stopping_ && !restarting_ && !network_ && of == identities_) on_beginning(*beginning);
      });
}

void Daemon::on_beginning(const Outcome<std::shared_ptr<const DhtBeginning>>& beginning) {
  const auto started = start_network(*identity_, beginning);
  if (started) {
    problem_.clear();
    return;
  }
  if (config_.dht_port != 0 || config_.port != 0) {
    // A port that was asked for by number is part of what the user wants: without it the start has failed.
    return fail(started.failure().text);
  }
  problem_ = started.failure().text;
  spdlog::error("no network: {}", problem_);
  retry_.arm_in(kNetworkRetry);
}

Outcome<void> Daemon::start_network(const LoadedIdentity& loaded,
                                    const Outcome<std::shared_ptr<const DhtBeginning>>& beginning) {
  if (!beginning) return beginning.failure();
  auto tls = proto::TlsContext::create(loaded.identity);
  if (!tls) return invalid("the identity cannot be used for TLS: " + tls.error().message());
  auto network = std::make_unique<Network>();
  DhtHandlers handlers;
  handlers.on_request = [this](IncomingRequest request) {
    if (network_) network_->manager->on_signal(DhtSignalling::message_from(std::move(request)));
  };
  handlers.on_state = [this](DhtState state) {
    spdlog::info("dht state={}", to_string(state));
    events_.publish("network.state", {{"network", to_string(state)}});
  };
  handlers.on_reach = [this](Reach reach) {
    spdlog::info("dht reachable={}", to_string(reach));
    events_.publish("network.reachable", {{"reachable", to_string(reach)}});
  };
  try {
    network->dht = std::make_unique<DhtClient>(loop_, dht_config(loaded), std::move(handlers), *beginning);
  } catch (const std::exception& e) {
    return failure(std::errc::address_in_use, e.what());
  }
  network->signalling = std::make_unique<DhtSignalling>(*network->dht);
  auto door = open_door();
  if (!door) return door.failure();
  network->door = std::move(*door);
  network->probe = std::make_unique<MappingProbe>(loop_, poller_, *network->door, stun_places());
  network->first_look.emplace(*network->probe, [this] { network_->first_look.reset(); });
  network->doors.emplace(Doors{*network->door, *network->probe});
  const ConnectionManager::Context context{{loop_, poller_, turns_, scratch_, handles_},
                                           bridge_,
                                           *network->signalling,
                                           stores_,
                                           events_,
                                           ipc_.apps(),
                                           ipc_.questions(),
                                           &*network->doors};
  ConnectionManager::Settings settings = manager_settings();
  if (const auto dates = loaded.identity.chain.validity()) settings.own_validity = *dates;
  settings.own_public_key = loaded.identity.chain.public_key_der();
  settings.own_chain = loaded.identity.chain.der();
  network->manager =
      std::make_unique<ConnectionManager>(context, settings, loaded.identity.chain.device_id(), std::move(*tls));
  network_ = std::move(network);
  ipc_.set_manager(network_->manager.get());
  return {};
}

/// The port that was asked for, or no other. Else the DHT's number, where that was given: then who knows the one knows
/// the other, and one number is to be opened in a firewall. Else the one of last time, or any that is free.
Outcome<std::unique_ptr<FrontDoor>> Daemon::open_door() {
  if (config_.port != 0) return FrontDoor::open(loop_, poller_, static_cast<std::uint16_t>(config_.port));
  for (const auto port : {static_cast<std::uint16_t>(config_.dht_port), remembered_port_}) {
    if (port == 0) continue;
    auto door = FrontDoor::open(loop_, poller_, port);
    if (door) return door;
    spdlog::warn("{}: another one is taken", door.failure().text);
  }
  auto door = FrontDoor::open(loop_, poller_, 0);
  if (!door) return door;
  remembered_port_ = (*door)->port();
  disk_.run(
      [path = state_dir_.file(kPortFile), text = std::to_string(remembered_port_) + "\n"] {
        return write_atomically(path, proto::as_bytes(text), 0600);
      },
      [](const Outcome<void>& written) {
        if (!written) spdlog::warn("the TCP port is not remembered: {}", written.failure().text);
      });
  return door;
}

std::vector<HostPort> Daemon::stun_places() const {
  std::vector<HostPort> out;
  for (const HostPort& place : config_.stun) {
    if (place.port != 0) {
      out.push_back(place);
    } else {
      out.insert(out.end(), config_.bootstrap.begin(), config_.bootstrap.end());
    }
  }
  return out;
}

void Daemon::on_addresses(const std::vector<std::string>& addresses) {
  if (stopping_) return;
  ++network_changes_;
  spdlog::info("network changed addresses=\"{}\"", fmt::join(addresses, " "));
  events_.publish("network.changed", {{"addresses", addresses}});
  if (!network_) return;
  network_->dht->network_changed();
  network_->probe->network_changed();
  network_->manager->network_changed(addresses);
}

/// The addresses are the same, but what is behind them may have been away, and know nothing of us any more.
void Daemon::on_network_stirred() {
  if (stopping_) return;
  spdlog::info("network stirred: a link or the default route is new");
  if (network_) network_->dht->network_stirred();
}

DhtConfig Daemon::dht_config(const LoadedIdentity& loaded) const {
  DhtConfig dht;
  dht.device_key_pem = std::string(loaded.device_key_pem.view());
  dht.announcement = loaded.signed_by_account;
  dht.certificate_chain_pem = loaded.chain_pem;
  dht.port = static_cast<std::uint16_t>(config_.dht_port);
  dht.bootstrap = texts(config_.bootstrap);
  dht.lan_discovery = !config_.no_lan_discovery;
  if (const std::string file = known_nodes_file(dht.bootstrap); !file.empty()) dht.state_file = state_dir_.file(file);
  dht.max_requests_per_second = static_cast<int>(config_.dht_max_requests);
  dht.max_peer_requests_per_second = static_cast<int>(config_.dht_max_peer_requests);
  dht.max_searches = static_cast<int>(config_.dht_max_searches);
  dht.max_store_bytes = static_cast<int>(config_.dht_max_store << 20);
  dht.max_store_keys = static_cast<int>(config_.dht_max_store_keys);
  dht.max_value_bytes = config_.dht_max_value << 10;
  dht.keep_nothing = config_.dht_keep_nothing;
  return dht;
}

ConnectionManager::Settings Daemon::manager_settings() const {
  ConnectionManager::Settings settings;
  settings.limits.max_connections = config_.max_connections;
  settings.limits.max_setups = config_.max_setups;
  settings.limits.max_unknown_setups = config_.max_unknown_setups;
  settings.limits.idle_time = config_.idle_timeout;
  settings.limits.max_channels = fds_.max_channels;
  settings.limits.max_channels_per_peer = config_.max_channels_per_peer;
  settings.mux.max_channels =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(fds_.max_channels, proto::kMaxChannels));
  settings.mux.max_buffer = config_.max_connection_buffer << 20;
  settings.mux.keepalive_interval = config_.keepalive;
  settings.gate.policy = config_.ice_request;
  settings.gate.max_lookups = config_.max_unknown_lookups;
  settings.gate.lookups_per_minute = static_cast<unsigned>(config_.unknown_lookups_per_minute);
  settings.gate.ask_time = config_.policy_timeout;
  return settings;
}

IpcSettings Daemon::ipc_settings(const Config& config, const FdLimits& fds) {
  IpcSettings ipc;
  ipc.places.percent = config.max_user_share;
  ipc.max_channels = fds.max_channels;
  ipc.max_connections = config.max_connections;
  ipc.max_clients = config.max_clients;
  ipc.max_channels_per_client = config.max_channels_per_client;
  ipc.max_uncollected_fds = config.max_uncollected_fds;
  ipc.ask_time = config.accept_timeout;
  ipc.open_time = config.open_timeout;
  ipc.reservations = config.reservations;
  return ipc;
}

// ---- reload ----

void Daemon::reload() {
  if (stopping_) return;
  if (std::exchange(reloading_, true)) {
    reload_again_ = true;
    return;
  }
  ServiceManager::reloading();
  // Shared: the pool's thread writes it, the loop's reads it when that is done.
  const auto wanted = std::make_shared<std::optional<Outcome<Config>>>();
  loop_.post_work([wanted, read = read_again_] { wanted->emplace(read()); }, [this, wanted] { on_reloaded(**wanted); });
}

void Daemon::on_reloaded(const Outcome<Config>& wanted) {
  reloading_ = false;
  if (stopping_) return;
  if (wanted) {
    take_over(*wanted);
  } else {
    reload_problem_ = "the configuration was not reloaded: " + wanted.failure().text;
    spdlog::error("{}", reload_problem_);
  }
  ServiceManager::ready();
  if (std::exchange(reload_again_, false)) reload();
}

void Daemon::take_over(const Config& wanted) {
  Reload plan = plan_reload(config_, wanted);
  config_ = std::move(plan.next);
  set_up_logging(config_.log_level, environment_);
  ipc_.set_settings(ipc_settings(config_, fds_));
  if (network_) network_->manager->set_settings(manager_settings());
  for (const std::string& change : plan.changed) spdlog::info("reload {}", log_escape(change));
  reload_problem_.clear();
  if (!plan.waiting.empty()) {
    reload_problem_ = fmt::format("restart jami-connd for the changes of {}", fmt::join(plan.waiting, ", "));
    spdlog::warn("reload {}", reload_problem_);
  }
  spdlog::info("reloaded changed={} waiting-for-restart={}", plan.changed.size(), plan.waiting.size());
}

// ---- another identity ----

/// Connections end properly, as at the end of the daemon; then all begins anew with the identity that is on the disk.
void Daemon::on_identity_replaced() {
  if (stopping_ || std::exchange(restarting_, true)) return;
  spdlog::info("another identity: the network starts anew");
  retry_.stop();
  if (!network_) return network_ended();
  network_->manager->shut_down([this] { network_->dht->shutdown([this] { network_ended(); }); });
}

void Daemon::network_ended() {
  ipc_.set_manager(nullptr);
  ipc_.set_identity(nullptr);  // until it is loaded anew: a change meanwhile would start a second network
  const bool had_network = network_ != nullptr;
  network_.reset();
  // The next one may be connected at its first word: that it is another one is told all the same.
  if (had_network) events_.publish("network.state", {{"network", to_string(DhtState::kDisconnected)}});
  restarting_ = false;
  if (stopping_) return stop_clients();
  load_identity();
}

// ---- the end ----

void Daemon::fail(const std::string& text) {
  spdlog::error("{}", text);
  exit_code_ = 1;
  stop();
}

/// Connections first, so that peers and apps see a proper end; then the disk, so that who has changed something hears
/// that it is there; then the clients, who are told of the end; then the DHT.
void Daemon::stop() {
  if (std::exchange(stopping_, true)) return;
  if (ends_with_login_) {
    spdlog::info("stopping; if that is because of a logout: {}", kLingerHint);
  } else {
    spdlog::info("stopping");
  }
  ServiceManager::stopping();
  retry_.stop();
  own_dates_.stop();
  end_in(kEndTime);
  end_.arm_in(kOrderlyEndTime);
  if (restarting_) return;  // network_ended() goes on
  if (network_) {
    network_->manager->shut_down([this] { stop_clients(); });
  } else {
    stop_clients();
  }
}

void Daemon::stop_clients() {
  disk_.when_idle([this] { ipc_.shut_down([this] { stop_dht(); }); });
}

void Daemon::stop_dht() {
  if (!network_) return on_all_stopped();
  network_->dht->shutdown([this] { on_all_stopped(); });
}

void Daemon::on_all_stopped() {
  disk_.when_idle([this] { loop_.stop(); });
}

}  // namespace connd::daemon
