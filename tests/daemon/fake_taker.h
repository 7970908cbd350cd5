// SPDX-License-Identifier: GPL-3.0-or-later
/// A ChannelTaker that is no session: as a forwarder in the daemon would be one. It keeps what it is told.
#pragma once

#include <unistd.h>

#include <utility>
#include <vector>

#include "daemon/local_api/local_apps.h"

namespace connd::test {

struct FakeTaker final : daemon::ChannelTaker {
  explicit FakeTaker(daemon::LocalApps& local) : apps(local), number_(local.new_number()) {
    who.uid = ::getuid();
    who.gid = ::getgid();
    who.pid = ::getpid();
    apps.join(*this);
  }
  ~FakeTaker() {
    while (!apps.take_back(number_)) {
    }
    apps.leave(number_);
  }
  FakeTaker(const FakeTaker&) = delete;
  FakeTaker& operator=(const FakeTaker&) = delete;

  /// Its listener's number.
  daemon::ListenerNumber listen(const std::string& uri, ipc::ListenMode mode = ipc::ListenMode::kAuto) {
    daemon::Listener listener;
    listener.client = number_;
    listener.owner = who;
    listener.uri = uri;
    listener.mode = mode;
    return std::get<daemon::ListenerNumber>(apps.listeners().add(std::move(listener)));
  }

  [[nodiscard]] daemon::ClientNumber number() const override { return number_; }
  [[nodiscard]] const ipc::PeerCredentials& credentials() const override { return who; }
  [[nodiscard]] bool admin() const override { return false; }
  [[nodiscard]] bool takes_channels() const override { return takes; }
  [[nodiscard]] bool congested() const override { return full; }
  [[nodiscard]] bool behind() const override { return false; }
  [[nodiscard]] std::size_t unsent_fds() const override { return unsent; }
  void channel_opened(const ipc::ChannelOpened& channel, ipc::Fd fd) override {
    opened.emplace_back(channel, std::move(fd));
  }
  void channel_requested(const ipc::ChannelRequested& request) override { requests.push_back(request); }
  void channel_request_cancelled(const ipc::RequestCancelled& request) override { cancelled.push_back(request); }
  void channel_closed(const ipc::ChannelClosed& end) override { closed.push_back(end); }

  daemon::LocalApps& apps;
  ipc::PeerCredentials who;
  bool takes = true;
  bool full = false;
  std::size_t unsent = 0;
  std::vector<std::pair<ipc::ChannelOpened, ipc::Fd>> opened;
  std::vector<ipc::ChannelRequested> requests;
  std::vector<ipc::RequestCancelled> cancelled;
  std::vector<ipc::ChannelClosed> closed;

 private:
  const daemon::ClientNumber number_;
};

}  // namespace connd::test
