// SPDX-License-Identifier: GPL-3.0-or-later
/// What happens to connection requests of peers that are neither allowed nor banned (SPEC section 4.3).
#pragma once

#include <cstdint>

namespace connd::daemon {

enum class IceRequestPolicy : std::uint8_t {
  kTrusted,  ///< refused
  kAnyone,   ///< accepted
  kAsk,      ///< the local client that has registered decides
};

}  // namespace connd::daemon
