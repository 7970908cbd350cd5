// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/reload.h"

#include "daemon/settings/options.h"

namespace connd::daemon {

Reload plan_reload(const Config& running, const Config& wanted) {
  Reload out{running, {}, {}};
  for (const OptionSpec& option : options()) {
    const std::string before = option_text(option, running);
    const std::string after = option_text(option, wanted);
    if (before == after) continue;
    const std::string name(option.name);
    if (option.when == OptionSpec::When::kRestart) {
      out.waiting.push_back(name);
      continue;
    }
    copy_option(option, wanted, out.next);
    out.changed.push_back(name + ": " + before + " -> " + after);
  }
  return out;
}

}  // namespace connd::daemon
