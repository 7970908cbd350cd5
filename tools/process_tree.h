// SPDX-License-Identifier: GPL-3.0-or-later
/// The processes that descend from this one, and signals to all of them.
#pragma once

namespace connd::tools {

/// Sends `signal` to each process below this one, whatever its session or group, and whoever came meanwhile. A process
/// is signalled only while it is known to be a descendant: its number may be somebody else's a moment later. Those that
/// may not be signalled (setuid programs) are left out. True when there was any to be signalled.
bool signal_descendants(int signal);

}  // namespace connd::tools
