// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The schema of the local API, made from the structs that both ends use: result of `rpc.discover`, and the file
/// ipc/schema.json.
#pragma once

#include "ipc/message.h"

namespace connd::ipc {

/// An OpenRPC 1.2 document. Params and results are JSON Schema (2020-12); what OpenRPC has no place for is in `x-`
/// members: `x-fd` (a file descriptor comes with the message), `x-notifications` (as methods, from the daemon),
/// `x-open` (members beside the listed ones depend on the type).
[[nodiscard]] Json api_schema();

}  // namespace connd::ipc
