// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxEvent: what a mux tells its owner.
#pragma once

#include <cstdint>
#include <string>

#include "proto/bytes.h"
#include "proto/channel.h"
#include "proto/reason.h"

namespace connd::proto {

struct MuxEvent {
  enum class Kind : std::uint8_t {
    kHello,      ///< the peer's hello: the protocol is agreed
    kRequested,  ///< the peer asks for a channel of `name`: answer with accept() or refuse()
    kOpened,     ///< our open was accepted
    kRefused,    ///< our open was refused: `reason`, `text`
    kCancelled,  ///< the peer took back a request that we had not answered
    kData,       ///< `data` came for the channel; valid until the next call of next_event()
    kEnd,        ///< the peer will send no more on the channel
    kReset,      ///< the peer aborted it, or broke its rules: `reason`, `text`
    kGoAway,     ///< the peer takes no new requests: `reason`, `text`
    kViolation,  ///< the peer asked for an id it may not have, and was refused: for the log (`text`)
  };
  Kind kind;
  ChannelHandle channel = 0;
  ChannelUser* user = nullptr;  ///< of kData and kEnd: the channel's; null: it has none
  Bytes data{};
  bool unique = false;  ///< of kRequested
  Reason reason = Reason::kClosed;
  std::string name{};
  std::string text{};
};

}  // namespace connd::proto
