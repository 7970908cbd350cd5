// SPDX-License-Identifier: GPL-3.0-or-later
/// Names of files on their way: a relative path as the uri of a channel, `file://NAME` (tools/FILES.md).
///
/// A path is a list of segments, bytes as the file system has them. Decoding is where a peer's name becomes a path
/// of ours: what it gives can be walked below a directory segment by segment, and leads nowhere else.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/error.h"

namespace connd::tools {

using FilePath = std::vector<std::string>;

inline constexpr std::string_view kFilePrefix = "file://";
/// As Linux has it (NAME_MAX).
inline constexpr std::size_t kMaxSegmentBytes = 255;
/// Deeper trees than anybody keeps by hand; a bound for the walk.
inline constexpr std::size_t kMaxSegments = 64;
/// Of the whole path with its slashes, one less than PATH_MAX. Percent-encoded it fits into a uri (65,000) three times.
inline constexpr std::size_t kMaxPathBytes = 4095;

/// Why `path` cannot be sent or taken; empty if it can.
[[nodiscard]] std::string path_problem(const FilePath& path);
/// The channel's uri. The path must have no problem.
[[nodiscard]] std::string file_uri(const FilePath& path);
/// Errors: bad-name, whose message says what is wrong.
[[nodiscard]] ipc::Outcome<FilePath> path_of_uri(std::string_view uri);
/// Why a file of this name is not taken from others unless that is asked for: a part of it is hidden, would be read as
/// an option where somebody writes `*`, or is shown as another than it is. Empty if nothing is odd about it.
[[nodiscard]] std::string odd_name(const FilePath& path);
/// The segments with slashes between them, unescaped.
[[nodiscard]] std::string path_text(const FilePath& path);

}  // namespace connd::tools
