// SPDX-License-Identifier: GPL-3.0-or-later
/// What travels on a file's channel beside its content: the header that the sender begins with, and the answer that
/// the receiver ends with (tools/FILES.md). Bytes in, values out; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "ipc/error.h"
#include "proto/bytes.h"

namespace connd::tools {

inline constexpr std::uint64_t kFilesVersion = 1;
/// Of the map. Version 1 needs 50; the rest is room for members to come.
inline constexpr std::size_t kMaxHeaderBytes = 1024;
inline constexpr std::size_t kLengthBytes = 4;
/// Of the text in an answer: some lines of a terminal.
inline constexpr std::size_t kMaxAnswerText = 1024;
/// A file's size is an off_t at both ends.
inline constexpr std::uint64_t kMaxFileBytes = (std::uint64_t{1} << 63) - 1;

using FileSum = std::array<std::uint8_t, 32>;

struct FileHeader {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;  ///< nanoseconds since 1970, UTC
  std::uint32_t mode = 0;     ///< permission bits, at most 07777
  friend bool operator==(const FileHeader&, const FileHeader&) = default;
};

/// How the receiver ended. The numbers are on the wire.
enum class FileCode : std::uint8_t {
  kDone = 0,
  kFailed = 1,       ///< the receiver could not write it
  kNoSpace = 2,      ///< its disk is full, or the file too large for it
  kExists = 3,       ///< it has such a file, and keeps it
  kMalformed = 4,    ///< the header cannot be read, or the content ended early
  kWrongSum = 5,     ///< the content is not what the sum says
  kInterrupted = 6,  ///< the receiver was told to stop
  kBadName = 7,      ///< it takes no file of this name
  kTimedOut = 8,     ///< next to nothing came from the sender for too long
  kTooLarge = 9,     ///< more than it takes: of one file, or in all
};

struct FileAnswer {
  FileCode code = FileCode::kDone;
  std::string text;  ///< empty when done
  friend bool operator==(const FileAnswer&, const FileAnswer&) = default;
};

/// So many bytes at least are missing: who reads no more than these never reads beyond the end of the item.
struct NeedMore {
  std::size_t bytes = 0;
};
/// What is wrong, in words.
struct Malformed {
  std::string text;
};
using HeaderOutcome = std::variant<NeedMore, FileHeader, Malformed>;
using AnswerOutcome = std::variant<NeedMore, FileAnswer, Malformed>;

/// With the length in front.
[[nodiscard]] proto::ByteVector encode_header(const FileHeader& header);
/// Reads a header from the bytes since the channel's begin.
[[nodiscard]] HeaderOutcome decode_header(proto::Bytes bytes);

/// Text beyond kMaxAnswerText is cut off.
[[nodiscard]] proto::ByteVector encode_answer(const FileAnswer& answer);
[[nodiscard]] AnswerOutcome decode_answer(proto::Bytes bytes);

/// The reason that stands for a code, for messages and exit codes.
[[nodiscard]] ipc::Reason reason_of(FileCode code);

}  // namespace connd::tools
