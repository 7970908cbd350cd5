// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/own_identity.h"

#include <ctime>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/connection/connect_limits.h"
#include "daemon/dht/dht_client.h"
#include "daemon/trust/certificate_text.h"

namespace connd::daemon {
namespace {

/// A disk that is full at the first start: the keys are made when there is room for them.
constexpr proto::Duration kIdentityRetry = std::chrono::seconds(5);

std::int64_t unix_now() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

}  // namespace

OwnIdentity::OwnIdentity(Loop& loop, std::string state_dir, Stores& stores, Callbacks callbacks)
    : loop_(loop),
      state_dir_(std::move(state_dir)),
      stores_(stores),
      callbacks_(std::move(callbacks)),
      retry_(loop, [this] { load(); }),
      dates_(loop, [this] { check_dates(); }) {}

void OwnIdentity::load() {
  IdentityStoreOptions options;
  options.now_unix = unix_now();
  options.sign = sign_announcement;
  load_or_generate_identity(loop_, state_dir_, options,
                            [this](Outcome<LoadedIdentity> loaded) { on_loaded(std::move(loaded)); });
}

void OwnIdentity::on_loaded(Outcome<LoadedIdentity> loaded) {
  if (stopped_) return;
  if (!loaded && waits_for_disk(loaded.failure())) {
    // Ending would change nothing: who starts us again would meet the same.
    const std::string before =
        std::exchange(problem_, "there is no identity yet: " + loaded.failure().text + ": tried again every 5 s");
    if (problem_ != before) spdlog::error("{}", problem_);
    retry_.arm_in(kIdentityRetry);
    return;
  }
  if (!loaded) return callbacks_.failed(loaded.failure().text);
  problem_.clear();
  identity_ = std::move(*loaded);
  keeper_.emplace(loop_, state_dir_, *identity_, stores_, callbacks_.replaced);
  const proto::CertificateChain& chain = identity_->identity.chain;
  spdlog::info("identity device={} account={}", chain.device_id().hex(), chain.account_id().hex());
  check_dates();
  callbacks_.loaded();
}

std::optional<std::string> OwnIdentity::certificate_problem() const {
  if (!identity_) return std::nullopt;
  const auto dates = identity_->identity.chain.validity();
  if (!dates) return std::nullopt;
  return own_certificate_problem(*dates, unix_now());
}

void OwnIdentity::check_dates() {
  if (const auto problem = certificate_problem()) spdlog::warn("{}", *problem);
  dates_.arm_in(kDatesInterval);
}

void OwnIdentity::stop() {
  stopped_ = true;
  retry_.stop();
  dates_.stop();
}

}  // namespace connd::daemon
