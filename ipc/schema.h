// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The schema of the local API, made from the structs that both ends use: result of `rpc.discover`, and the file
/// ipc/schema.json.
#pragma once

#include "ipc/message.h"

namespace connd::ipc {

/// `{api, methods: {NAME: {params, result, fd}}, notifications: {NAME: {params, fd}}}`; params and result are
/// JSON Schema (2020-12), `fd` tells whether a file descriptor comes with the message.
[[nodiscard]] Json api_schema();

}  // namespace connd::ipc
