// SPDX-License-Identifier: GPL-3.0-or-later
/// OwnIdentity: this device's identity while the daemon runs: loaded, or made where there is none, as soon as the disk
/// lets us; loaded anew when an import has put another one in its place; and its dates, against the clock.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "daemon/event_loop/loop.h"
#include "daemon/system/outcome.h"
#include "daemon/trust/identity_keeper.h"
#include "daemon/trust/identity_store.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// Used on the loop's thread; keys and the disk are the pool's.
class OwnIdentity {
 public:
  struct Callbacks {
    std::function<void()> loaded;                    ///< there is one, or another one than before
    std::function<void(const std::string&)> failed;  ///< there is none, and waiting does not help: a line for the user
    std::function<void()> replaced;                  ///< another one is on the disk: to be loaded when it suits
  };

  /// All outlive this, and the loop does not run behind its end.
  OwnIdentity(Loop& loop, std::string state_dir, Stores& stores, Callbacks callbacks);

  void load();
  /// Nothing is loaded, and nothing told, from now on.
  void stop();

  /// Null until it is loaded; until another one is loaded the former stays.
  [[nodiscard]] const LoadedIdentity* get() const { return identity_ ? &*identity_ : nullptr; }
  /// Null as above.
  [[nodiscard]] IdentityKeeper* keeper() { return keeper_ ? &*keeper_ : nullptr; }
  /// Why there is none yet; empty while all is well.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  /// What peers may have against its dates. They judge it by their clocks; ours may be wrong, and they cannot say so.
  [[nodiscard]] std::optional<std::string> certificate_problem() const;

 private:
  void on_loaded(Outcome<LoadedIdentity> loaded);
  void check_dates();

  Loop& loop_;
  const std::string state_dir_;
  Stores& stores_;
  Callbacks callbacks_;
  std::optional<LoadedIdentity> identity_;
  std::optional<IdentityKeeper> keeper_;
  std::string problem_;
  bool stopped_ = false;
  Timer retry_;
  Timer dates_;
};

}  // namespace connd::daemon
