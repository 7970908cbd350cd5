// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/daemon_network.h"

#include <utility>

#include <spdlog/fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "daemon/service/part_settings.h"

namespace connd::daemon {
namespace {

/// A DHT port that is taken may be free again; the daemon is of use without a network meanwhile.
constexpr proto::Duration kNetworkRetry = std::chrono::seconds(10);

}  // namespace

DaemonNetwork::DaemonNetwork(const Context& context, std::function<void(const std::string&)> failed)
    : context_(context),
      failed_(std::move(failed)),
      port_(context.disk, context.config, context.state_dir),
      retry_(context.loop, [this] { read_beginning(); }) {}

// ---- to join ----

void DaemonNetwork::hold_back(proto::Duration time, std::string reason) {
  join_at_ = context_.loop.now() + time;
  held_back_ = std::move(reason);
}

void DaemonNetwork::join(const LoadedIdentity& identity) {
  identity_ = &identity;
  problem_.clear();
  if (context_.loop.now() >= join_at_) return read_beginning();
  retry_.arm(join_at_);
}

/// The device's key is read from its text, and the nodes that were known from the disk: on the pool.
void DaemonNetwork::read_beginning() {
  // Two owners, the work and its end, which follow each other.
  const auto beginning = std::make_shared<Beginning>(nullptr);
  context_.loop.post_work(
      [beginning, config = dht_settings(context_.config, context_.state_dir, *identity_)] {
        try {
          *beginning = read_dht_beginning(config);
        } catch (const std::exception& e) {
          *beginning = invalid(e.what());
        }
      },
      [this, beginning, attempt = ++attempts_] {
        if (attempt == attempts_) on_beginning(*beginning);
      });
}

void DaemonNetwork::on_beginning(const Beginning& beginning) {
  const auto started = start(beginning);
  if (started) {
    problem_.clear();
    return;
  }
  // A port that was asked for by number is part of what the user wants: without it the start has failed.
  if (context_.config.dht_port != 0 || context_.config.port != 0) return failed_(started.failure().text);
  problem_ = started.failure().text;
  spdlog::error("no network: {}", problem_);
  retry_.arm_in(kNetworkRetry);
}

Outcome<void> DaemonNetwork::start(const Beginning& beginning) {
  if (!beginning) return beginning.failure();
  const proto::Identity& identity = identity_->identity;
  auto tls = proto::TlsContext::create(identity);
  if (!tls) return invalid("the identity cannot be used for TLS: " + tls.error().message());
  auto up = std::make_unique<Up>();
  try {
    up->dht = std::make_unique<DhtClient>(context_.loop, dht_settings(context_.config, context_.state_dir, *identity_),
                                          dht_handlers(), *beginning);
  } catch (const std::exception& e) {
    return failure(std::errc::address_in_use, e.what());
  }
  ConnectionParts& parts = context_.parts;
  auto door = port_.open(context_.loop, parts.poller);
  if (!door) return door.failure();
  up->door = std::move(*door);
  up->door->limit_strangers(context_.fds.of_strangers());
  up->probe = std::make_unique<MappingProbe>(context_.loop, parts.poller, *up->door, stun_places(context_.config));
  up->first_look.emplace(*up->probe, [this] { up_->first_look.reset(); });
  up->doors.emplace(Doors{*up->door, *up->probe});
  // The port is that of all networks; who names some is to be reached by those alone, which ICE keeps to.
  Doors* const doors = context_.config.interfaces.empty() ? &*up->doors : nullptr;
  const ConnectionManager::Context context{{context_.loop, parts.poller, parts.turns, parts.scratch, parts.handles},
                                           parts.bridge,
                                           *up->dht,
                                           context_.stores,
                                           context_.events,
                                           context_.ipc.apps(),
                                           context_.ipc.questions(),
                                           doors};
  ManagerSettings settings = manager_settings(context_.config, context_.fds);
  if (const auto dates = identity.chain.validity()) settings.own_validity = *dates;
  settings.own_public_key = identity.chain.public_key_der();
  settings.own_chain = identity.chain.der();
  // The manager goes before the node does.
  settings.ice.public_addresses = [&dht = *up->dht] {
    std::vector<std::string> addresses = dht.status().seen_at.best();
    spdlog::debug("dht seen at addresses=\"{}\"", fmt::join(addresses, " "));
    return addresses;
  };
  up->manager = std::make_unique<ConnectionManager>(context, settings, identity.chain.device_id(), std::move(*tls));
  up_ = std::move(up);
  context_.ipc.set_manager(up_->manager.get());
  return {};
}

DhtHandlers DaemonNetwork::dht_handlers() {
  DhtHandlers handlers;
  handlers.on_request = [this](const SignalMessage& message) {
    if (up_) up_->manager->on_signal(message);
  };
  handlers.on_state = [this](DhtState state) {
    spdlog::info("dht state={}", to_string(state));
    context_.events.publish("network.state", {{"network", to_string(state)}});
  };
  handlers.on_reach = [this](Reach reach) {
    spdlog::info("dht reachable={}", to_string(reach));
    context_.events.publish("network.reachable", {{"reachable", to_string(reach)}});
  };
  return handlers;
}

// ---- to leave ----

void DaemonNetwork::leave(std::function<void()> left) {
  if (std::exchange(leaving_, true)) return;
  retry_.stop();
  ++attempts_;
  if (!up_) return on_left(left);
  up_->manager->shut_down([this, left = std::move(left)] { up_->dht->shutdown([this, left] { on_left(left); }); });
}

void DaemonNetwork::on_left(const std::function<void()>& left) {
  const bool had_network = up_ != nullptr;
  const auto call = left;  // a copy: the client that is destroyed now has the other one
  close();
  // The next one may be connected at its first word: that it is another one is told all the same.
  if (had_network) context_.events.publish("network.state", {{"network", to_string(DhtState::kDisconnected)}});
  leaving_ = false;
  call();
  if (left_and_ended_) left_and_ended_();
}

void DaemonNetwork::end_connections(std::function<void()> ended) {
  retry_.stop();
  ++attempts_;
  if (leaving_) {
    left_and_ended_ = std::move(ended);  // on_left() goes on
    return;
  }
  if (!up_) return ended();
  up_->manager->shut_down(std::move(ended));
}

void DaemonNetwork::end_dht(std::function<void()> ended) {
  if (!up_) return ended();
  up_->dht->shutdown(std::move(ended));
}

void DaemonNetwork::close() {
  context_.ipc.set_manager(nullptr);
  up_.reset();
}

// ---- what happens meanwhile ----

void DaemonNetwork::on_addresses(const std::vector<std::string>& addresses) {
  ++changes_;
  spdlog::info("network changed addresses=\"{}\"", fmt::join(addresses, " "));
  context_.events.publish("network.changed", {{"addresses", addresses}});
  if (!up_) return;
  up_->dht->network_changed();
  up_->probe->network_changed();
  up_->manager->network_changed(addresses);
}

void DaemonNetwork::on_stirred() {
  spdlog::info("network stirred: a link or the default route is new");
  if (up_) up_->dht->network_stirred();
}

void DaemonNetwork::take_settings() {
  if (up_) up_->manager->set_settings(manager_settings(context_.config, context_.fds));
}

void DaemonNetwork::lists_changed() {
  if (up_) up_->manager->lists_changed();
}

std::vector<std::string> DaemonNetwork::problems() const {
  std::vector<std::string> out;
  if (context_.loop.now() < join_at_) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(join_at_ - context_.loop.now());
    out.push_back(fmt::format("{}: it joins the network in {} s", held_back_, left.count()));
  }
  if (!problem_.empty()) out.push_back(problem_);
  return out;
}

}  // namespace connd::daemon
