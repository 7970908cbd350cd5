// SPDX-License-Identifier: GPL-3.0-or-later
/// How many file descriptors there are, and who may have them.
#pragma once

#include <cstdint>

#include "daemon/system/outcome.h"
#include "ipc/fd.h"

namespace connd::daemon {

struct FdLimits {
  /// For the daemon's own: loop, DHT, logs, lock, files being written, libraries. At start it holds about 30.
  static constexpr std::uint64_t kReserve = 64;
  /// Who comes to the daemon's TCP port, and is not known yet, has a place out of the reserve: 16 at a limit of 1,024.
  [[nodiscard]] std::uint64_t of_strangers() const { return soft / 64; }
  /// A connection has its socket, ICE's listeners while it is set up, and every other socket that ICE connected: 15
  /// extra with three addresses were seen, and they have to be held as long as a Jami peer lives.
  static constexpr std::uint64_t kPerConnection = 16;
  /// The daemon's end. The app's end is there too until it is sent: kTransient covers those.
  static constexpr std::uint64_t kPerChannel = 1;
  /// App ends made and not sent yet, at one moment.
  static constexpr std::uint64_t kTransient = 64;
  /// What a busy daemon has beside channels: 16 connections, 64 clients. It is subtracted once, so that `max_channels`
  /// can really be reached; beyond it connections, clients and channels share what there is, and who gets none is
  /// refused (`resource-limit`).
  static constexpr std::uint64_t kBesideChannels = 16 * kPerConnection + 64 + kTransient;

  std::uint64_t soft = 0;  ///< RLIMIT_NOFILE after raising
  std::uint64_t hard = 0;
  std::uint64_t shared = 0;        ///< soft less the reserve
  std::uint64_t max_channels = 0;  ///< of all connections together

  /// `wanted_channels` is --max-channels, 0 for as many as there can be; more than there can be is cut.
  static FdLimits derive(std::uint64_t soft, std::uint64_t hard, std::uint64_t wanted_channels);
};

/// Raises the process's soft RLIMIT_NOFILE to the hard one, and derives the rest. A limit that cannot be raised is used
/// as it is. Failure: so low that not one channel is possible.
Outcome<FdLimits> raise_fd_limit(std::uint64_t wanted_channels);

/// The same open file under a number of at least FD_SETSIZE, close-on-exec, in place of `fd`; `fd` as it is where that
/// has such a number already, or there is none to be had.
/// OpenDHT waits with select(2), which corrupts memory, or aborts, on numbers from 1,024: the low ones are for it, so
/// whatever there can be many of is lifted. With a soft limit of 1,024 no high number exists, and none is needed.
ipc::Fd lift_fd(ipc::Fd fd);

}  // namespace connd::daemon
