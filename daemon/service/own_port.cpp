// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/own_port.h"

#include <charconv>

#include <spdlog/spdlog.h>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

/// 0: there is none, or it is none.
std::uint16_t read_port(const std::string& path) {
  const auto bytes = read_bounded(path, 16);
  if (!bytes || !*bytes) return 0;
  const std::string_view text = proto::as_text(**bytes);
  std::uint16_t port = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), port);
  return port;
}

}  // namespace

OwnPort::OwnPort(StateDisk& disk, const Config& config, const std::string& state_dir)
    : disk_(disk), config_(config), file_(state_dir + "/port"), remembered_(read_port(file_)) {}

Outcome<std::unique_ptr<FrontDoor>> OwnPort::open(Loop& loop, EdgePoller& poller) {
  if (config_.port != 0) return FrontDoor::open(loop, poller, static_cast<std::uint16_t>(config_.port));
  for (const auto port : {static_cast<std::uint16_t>(config_.dht_port), remembered_}) {
    if (port == 0) continue;
    auto door = FrontDoor::open(loop, poller, port);
    if (door) return door;
    spdlog::warn("{}: another one is taken", door.failure().text);
  }
  auto door = FrontDoor::open(loop, poller, 0);
  if (!door) return door;
  remembered_ = (*door)->port();
  disk_.run([path = file_,
             text = std::to_string(remembered_) + "\n"] { return write_atomically(path, proto::as_bytes(text), 0600); },
            [](const Outcome<void>& written) {
              if (!written) spdlog::warn("the TCP port is not remembered: {}", written.failure().text);
            });
  return door;
}

std::vector<HostPort> stun_places(const Config& config) {
  std::vector<HostPort> out;
  for (const HostPort& place : config.stun) {
    if (place.port != 0) {
      out.push_back(place);
    } else {
      out.insert(out.end(), config.bootstrap.begin(), config.bootstrap.end());
    }
  }
  return out;
}

}  // namespace connd::daemon
