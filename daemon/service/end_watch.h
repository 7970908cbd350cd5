// SPDX-License-Identifier: GPL-3.0-or-later
/// EndWatch: a process that was told to end does so in time, whatever hangs: a disk, a library's thread, a program that
/// does not read. Service managers kill who takes too long, and people wait.
#pragma once

#include <chrono>

namespace connd::daemon {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kEndScale = 4;  ///< a sanitizer's programs take that much longer
#else
inline constexpr int kEndScale = 1;
#endif
/// What is orderly has this long from SIGTERM: peers and apps are told, the disk gets what it has to, clients read
/// their last lines. Then what is left of it is left.
inline constexpr std::chrono::milliseconds kOrderlyEndTime{kEndScale * 3'500};
/// And this long in all: the threads of pool and libraries are waited for after that. Under five seconds, which is what
/// is promised.
inline constexpr std::chrono::milliseconds kEndTime{kEndScale * 4'500};

/// From now on the process has that long: then it ends at once with exit code 1, and says so on standard error. Whoever
/// ends earlier ends as always. Any thread, once; needs a thread more, and does nothing where there is none to be had.
void end_in(std::chrono::milliseconds time);

}  // namespace connd::daemon
