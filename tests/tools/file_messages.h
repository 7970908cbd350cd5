// SPDX-License-Identifier: GPL-3.0-or-later
// What sender and receiver of a file say to each other (tools/FILES.md), for tests that play one of them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "proto/bytes.h"
#include "tools/file_wire.h"
#include "tools/sha256.h"

namespace connd::test {

inline std::string text_of(const proto::ByteVector& bytes) {
  return std::string(proto::as_text(bytes));
}

inline std::string sum_of(const std::string& content) {
  tools::Sha256 hash;
  hash.update(proto::as_bytes(content));
  const tools::FileSum sum = hash.finish();
  return {sum.begin(), sum.end()};
}

inline std::string header_of(std::uint64_t size) {
  return text_of(tools::encode_header({size, 0, 0644}));
}

/// So many bytes of a stream socket, or the test fails.
inline std::string read_exactly(int fd, std::size_t size) {
  std::string text(size, '\0');
  REQUIRE(::recv(fd, text.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
  return text;
}

/// The message that `decode` makes of what comes next, and nothing behind it; or the test fails.
template <class Message, class Decode>
Message read_decoded(int fd, Decode decode) {
  proto::ByteVector bytes;
  while (true) {
    const auto outcome = decode(bytes);
    if (const auto* message = std::get_if<Message>(&outcome)) return *message;
    REQUIRE(std::holds_alternative<tools::NeedMore>(outcome));
    const std::string more = read_exactly(fd, std::get<tools::NeedMore>(outcome).bytes);
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
}

}  // namespace connd::test
