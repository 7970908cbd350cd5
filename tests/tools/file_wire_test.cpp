// SPDX-License-Identifier: GPL-3.0-or-later
// Header and answer, and that tools/FILES.md is true: its vectors are what the codec reads and writes.
#include "tools/file_wire.h"

#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "tools/sha256.h"

using namespace connd;
using namespace connd::tools;
using proto::ByteVector;

namespace {

ByteVector bytes_of(const std::string& hex) {
  ByteVector out(hex.size() / 2);
  REQUIRE(proto::from_hex(hex, out));
  return out;
}

bool document_has(const std::string& hex) {
  std::ifstream file(CONND_TOOLS_SOURCES "/FILES.md");
  REQUIRE(file.good());
  for (std::string line; std::getline(file, line);) {
    if (line == "    " + hex) return true;
  }
  return false;
}

std::string sum_of(const std::string& text) {
  Sha256 hash;
  hash.update(proto::as_bytes(text));
  return proto::to_hex(hash.finish());
}

bool malformed(const std::string& hex) {
  return std::holds_alternative<Malformed>(decode_header(bytes_of(hex)));
}

}  // namespace

TEST_CASE("files: headers of the document") {
  struct Row {
    FileHeader header;
    const char* hex;
    const char* content;
  };
  for (const Row& row : {Row{{5, 1'700'000'000'123'456'789, 0644},
                             "0000002184a17601a473697a6505a56d74696d65cf17979cfe3d85cd15a46d6f6465cd01a4",
                             "hello"},
                         Row{{0, -1, 0100}, "0000001784a17601a473697a6500a56d74696d65ffa46d6f646540", ""}}) {
    CHECK(document_has(row.hex));
    CHECK(document_has(sum_of(row.content)));
    CHECK(proto::to_hex(encode_header(row.header)) == row.hex);
    const auto decoded = decode_header(bytes_of(row.hex));
    REQUIRE(std::holds_alternative<FileHeader>(decoded));
    CHECK(std::get<FileHeader>(decoded) == row.header);
  }
}

TEST_CASE("files: whoever reads what is said to be missing never reads too far") {
  const ByteVector whole = encode_header({123456, 77, 0755});
  ByteVector read;
  while (true) {
    const auto outcome = decode_header(read);
    if (!std::holds_alternative<NeedMore>(outcome)) break;
    const std::size_t more = std::get<NeedMore>(outcome).bytes;
    REQUIRE(more > 0);
    REQUIRE(read.size() + more <= whole.size());
    read.push_back(whole[read.size()]);  // one at a time
  }
  CHECK(read == whole);
}

TEST_CASE("files: headers that are none") {
  CHECK(malformed("00000000"));
  CHECK(malformed("00000401"));
  CHECK(malformed("ffffffff"));
  CHECK(malformed("00000001c1"));                                                              // no msgpack
  CHECK(malformed("0000000105"));                                                              // no map
  CHECK(malformed("0000000180"));                                                              // nothing in it
  CHECK(malformed("0000000284a1"));                                                            // cut off inside
  CHECK(malformed("00000004df7fffffff"));                                                      // a huge map
  CHECK(malformed("0000001784a17602a473697a6500a56d74696d65ffa46d6f646540"));                  // version 2
  CHECK(malformed("0000001784a17601a473697a65ffa56d74696d65ffa46d6f646540"));                  // size -1
  CHECK(malformed("0000001f84a17601a473697a65cfffffffffffffffffa56d74696d65ffa46d6f646540"));  // size 2^64-1
  CHECK(malformed("0000001784a17601a473697a6500a56d74696d65a0a46d6f646540"));                  // mtime is a text
  CHECK(malformed("0000001984a17601a473697a6500a56d74696d65ffa46d6f6465cd1000"));              // mode 010000
  CHECK(malformed("0000001884a17601a473697a6500a56d74696d65ffa46d6f646540c0"));                // a byte behind it
  CHECK(malformed("000000078191919191919101"));                                                // nested too deep
}

TEST_CASE("files: members to come are ignored") {
  const auto decoded = decode_header(bytes_of("0000001c85a17601a473697a6500a56d74696d65ffa46d6f646540a16e92c0c2"));
  REQUIRE(std::holds_alternative<FileHeader>(decoded));
  CHECK(std::get<FileHeader>(decoded) == FileHeader{0, -1, 0100});
}

TEST_CASE("files: answers") {
  CHECK(document_has("00"));
  CHECK(document_has("0200096469736b2066756c6c"));
  CHECK(encode_answer({}) == ByteVector{0});
  CHECK(proto::to_hex(encode_answer({FileCode::kNoSpace, "disk full"})) == "0200096469736b2066756c6c");
  for (const FileAnswer& answer : {FileAnswer{}, FileAnswer{FileCode::kExists, ""}, FileAnswer{FileCode{200}, "new"}}) {
    const ByteVector whole = encode_answer(answer);
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const auto outcome = decode_answer(proto::Bytes(whole).first(n));
      REQUIRE(std::holds_alternative<NeedMore>(outcome));
      CHECK(n + std::get<NeedMore>(outcome).bytes <= whole.size());
    }
    const auto outcome = decode_answer(whole);
    REQUIRE(std::holds_alternative<FileAnswer>(outcome));
    CHECK(std::get<FileAnswer>(outcome) == answer);
  }
  CHECK(std::holds_alternative<Malformed>(decode_answer(bytes_of("010401"))));
  CHECK(encode_answer({FileCode::kFailed, std::string(5000, 'x')}).size() == 3 + kMaxAnswerText);
}

TEST_CASE("files: a code that is not known is a refusal") {
  CHECK(reason_of(FileCode{99}) == ipc::Reason::kDeclined);
  CHECK(reason_of(FileCode::kDone) == ipc::Reason::kClosed);
  CHECK(reason_of(FileCode::kTimedOut) == ipc::Reason::kTimedOut);
  CHECK(reason_of(FileCode::kTooLarge) == ipc::Reason::kResourceLimit);
}
