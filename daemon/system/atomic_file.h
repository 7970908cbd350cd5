// SPDX-License-Identifier: GPL-3.0-or-later
/// Files that are either the old one or the new one, whatever happens in between; and bounded reading.
///
/// All functions block. They have no state and may run on any thread; two writers of one path at the same time end with
/// one of the two contents.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <sys/types.h>

#include "daemon/system/outcome.h"
#include "proto/bytes.h"

namespace connd::daemon {

enum class Durability {
  kOnDisk,  ///< survives a power cut once the function has returned
  kCached,  ///< survives the process; after a power cut it may be empty: for what can be fetched again, and is checked
};

/// Writes `bytes` to a temporary file beside `path`, fsyncs it, renames it to `path` and fsyncs the directory. On
/// failure the old file is untouched and no partial one remains; only if the very last step, the fsync of the
/// directory, fails, is the new file there without a promise that it survives a power cut. That is a failure too.
/// Failures: any errno, with the path in the text.
Outcome<void> write_atomically(const std::string& path, proto::Bytes bytes, mode_t mode,
                               Durability durability = Durability::kOnDisk);

/// The whole file, at most `max_bytes`; nothing when there is no such file. Failures: any errno; EFBIG when it is
/// longer than `max_bytes`; EINVAL when it is not a regular file.
Outcome<std::optional<proto::ByteVector>> read_bounded(const std::string& path, std::size_t max_bytes);

/// Makes the names in a directory durable.
Outcome<void> sync_directory(const std::string& path);

/// Removes what writers that were killed have left in a directory. Only for one that nobody writes to at the moment.
void remove_leftovers(const std::string& directory);

/// The directory part of a path; "." when it has none.
std::string directory_of(const std::string& path);

}  // namespace connd::daemon
