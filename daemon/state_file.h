// SPDX-License-Identifier: GPL-3.0-or-later
/// Small files of the state directory: read whole, written whole, never seen half written.
#pragma once

#include <cstddef>
#include <filesystem>

#include "proto/bytes.h"
#include "proto/result.h"

namespace connd::daemon {

/// The whole file. Errors are those of the operating system (`no_such_file_or_directory` when it is not there), and
/// `file_too_large` above `max_bytes`.
proto::Result<proto::ByteVector> read_state_file(const std::filesystem::path& path, std::size_t max_bytes);

/// Replaces the file by `content`, mode 0600. When it returns without error the content and the name are on disk; on
/// any error the old file is as it was. Writes PATH.new beside it: one writer per path. May block: call it from
/// Loop::post_work.
proto::Result<void> write_state_file(const std::filesystem::path& path, proto::Bytes content);

}  // namespace connd::daemon
