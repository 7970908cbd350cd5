// SPDX-License-Identifier: GPL-3.0-or-later
/// A file's header, answer and name from a peer: what is read of them is within its bounds, and prints and reads the
/// same again. No name leads out of a directory.
#include <cstdint>

#include "tests/fuzz/check.h"
#include "tools/file_name.h"
#include "tools/file_wire.h"

using namespace connd;
using namespace connd::tools;

namespace {

void header(proto::Bytes bytes) {
  const auto outcome = decode_header(bytes);
  if (const auto* more = std::get_if<NeedMore>(&outcome)) {
    FUZZ_CHECK(more->bytes > 0 && bytes.size() + more->bytes <= kLengthBytes + kMaxHeaderBytes);
  }
  if (const auto* read = std::get_if<FileHeader>(&outcome)) {
    FUZZ_CHECK(read->size <= kMaxFileBytes && read->mode <= 07777);
    const auto again = decode_header(encode_header(*read));
    FUZZ_CHECK(std::get<FileHeader>(again) == *read);
  }
}

void answer(proto::Bytes bytes) {
  const auto outcome = decode_answer(bytes);
  if (const auto* more = std::get_if<NeedMore>(&outcome)) {
    FUZZ_CHECK(more->bytes > 0 && bytes.size() + more->bytes <= 3 + kMaxAnswerText);
  }
  if (const auto* read = std::get_if<FileAnswer>(&outcome)) {
    FUZZ_CHECK(std::get<FileAnswer>(decode_answer(encode_answer(*read))) == *read);
  }
}

void name(std::string_view uri) {
  const auto path = path_of_uri(uri);
  if (!path) return;
  FUZZ_CHECK(!path->empty() && path->size() <= kMaxSegments && path_text(*path).size() <= kMaxPathBytes);
  for (const auto& segment : *path) {
    FUZZ_CHECK(!segment.empty() && segment.size() <= kMaxSegmentBytes && segment != "." && segment != "..");
    FUZZ_CHECK(segment.find('/') == std::string::npos && segment.find('\0') == std::string::npos);
  }
  const auto again = path_of_uri(file_uri(*path));
  FUZZ_CHECK(again && *again == *path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  header({data, size});
  answer({data, size});
  name(proto::as_text({data, size}));
  return 0;
}
