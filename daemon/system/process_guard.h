// SPDX-License-Identifier: GPL-3.0-or-later
/// What keeps other programs of the same user out of this process's memory, where the device's private key is.
#pragma once

#include "daemon/system/outcome.h"

namespace connd::daemon {

/// From now on no debugger attaches without CAP_SYS_PTRACE, /proc/PID/mem and its like are root's, and no end leaves a
/// core file, whatever the system does with those. Call it before the first secret is read; an exec undoes it.
/// Failure: the kernel refuses, which none that is known does.
Outcome<void> guard_memory();

/// From now on what OpenSSL frees is overwritten first: its readers and writers of keys (3.0) leave copies behind. Call
/// it first of all: OpenSSL takes other functions only before it has allocated anything, and is as it was otherwise.
void wipe_freed_keys();

}  // namespace connd::daemon
