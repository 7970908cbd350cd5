// SPDX-License-Identifier: GPL-3.0-or-later
// How long a sender may be silent. What it says is tested with the verb (ctl_receive_test.cpp).
#include "tools/incoming_file.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/ipc/script_server.h"

using namespace connd;
using namespace connd::tools;
using namespace connd::test;
using std::chrono::seconds;

namespace {

const std::string kHeader(proto::as_text(encode_header({100, 0, 0644})));

std::string large_header() {
  return std::string(proto::as_text(encode_header({std::uint64_t{1} << 20, 0, 0644})));
}

/// A receiver whose senders are played.
struct Place {
  struct One {
    std::unique_ptr<IncomingFile> file;
    ipc::Fd peer;
    void send(const std::string& bytes) const {
      write_all(peer.get(), bytes);
      turn();
    }
    void turn() const {
      PollSet set;
      file->prepare(set);
      set.wake_at(PollSet::Clock::now());
      set.wait();
      file->run(set);
    }
  };
  One take(SenderPulse& sender) {
    One one;
    const std::string name = std::to_string(next_++);
    auto ends = socket_pair();
    server.client().connect_device("bob", "file://" + name, [&](ipc::Outcome<ipc::ChannelSocket> channel) {
      REQUIRE(channel);
      one.file = std::make_unique<IncomingFile>(std::move(*channel), FilePath{name},
                                                IncomingFile::Receiver{directory, scratch, allowance}, sender);
    });
    server.reply(server.expect("channel.open"), open_result(next_), std::move(ends.second));
    REQUIRE(one.file);
    one.peer = std::move(ends.first);
    return one;
  }
  [[nodiscard]] bool is_empty() const { return std::filesystem::is_empty(temp.path()); }

  ScriptServer server;
  TempDir temp;
  ReceiveDir directory = std::move(*ReceiveDir::open(temp.path(), {}));
  proto::ByteVector scratch = proto::ByteVector(kFileChunkBytes);
  Allowance allowance;

 private:
  std::uint64_t next_ = 1;
};

PollSet::Clock::time_point after(seconds time) {
  return PollSet::Clock::now() + time;
}

FileCode answer_at(const ipc::Fd& peer) {
  proto::ByteVector bytes(2000);
  const ssize_t n = ::recv(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  REQUIRE(n > 0);
  bytes.resize(static_cast<std::size_t>(n));
  return std::get<FileAnswer>(decode_answer(bytes)).code;
}

}  // namespace

TEST_CASE("fault E6: a sender that is silent in header, content or sum is waited for, and given up after a while") {
  for (const std::string& sent : {std::string(), kHeader.substr(0, 7), kHeader, kHeader + std::string(40, 'x'),
                                  kHeader + std::string(100, 'x'), kHeader + std::string(131, 'x')}) {
    Place place;
    SenderPulse sender;
    const auto begin = PollSet::Clock::now();
    const auto one = place.take(sender);
    if (!sent.empty()) one.send(sent);
    CHECK(one.file->late_at() >= begin + kPatience);
    one.file->check_late(begin + kPatience - seconds(1));
    CHECK_FALSE(one.file->decided());
    one.file->check_late(after(kPatience));
    REQUIRE(one.file->decided());
    REQUIRE(one.file->failure());
    CHECK(one.file->failure()->reason == ipc::Reason::kTimedOut);
    CHECK(one.file->failure()->text.find("in 600 s") != std::string::npos);
    CHECK(answer_at(one.peer) == FileCode::kTimedOut);
    CHECK(place.is_empty());
  }
}

TEST_CASE("fault E6: bytes that are no progress keep no place") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  one.send(large_header());
  const auto late_at = one.file->late_at();
  for (int n = 0; n < 50; ++n) one.send("x");
  CHECK(one.file->late_at() == late_at);
  one.file->check_late(late_at);
  CHECK(one.file->failure());
}

TEST_CASE("fault E6: a slow link is waited for: a step in ten minutes is enough") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  one.send(large_header());
  for (int step = 0; step < 3; ++step) {
    const auto before = one.file->late_at();
    for (int n = 0; n < 8; ++n) one.send(std::string(kStepBytes / 8, 'x'));
    CHECK(one.file->late_at() > before);
  }
}

TEST_CASE("fault E6: when another peer waits, a file gives its place, and its sender hears why") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  one.send(large_header() + "some");
  one.file->give_place();
  REQUIRE(one.file->failure());
  CHECK(one.file->failure()->reason == ipc::Reason::kTimedOut);
  CHECK(one.file->failure()->text ==
        "others wait for its place, and less than 64 KiB came in 60 s, after 4 bytes of content");
  CHECK(answer_at(one.peer) == FileCode::kTimedOut);
  CHECK(one.file->stepped() == PollSet::Clock::time_point::max());
}

TEST_CASE("fault E6: what this side has slept is no sender's fault") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  one.send(large_header());
  one.file->forgive(seconds(1000));
  one.file->check_late(after(seconds(1500)));
  CHECK_FALSE(one.file->decided());
}

TEST_CASE("incoming file: it waits for its turn while the sender's others have theirs") {
  Place place;
  SenderPulse sender;
  const auto waits = place.take(sender);
  waits.send(large_header());
  sender.bytes = kTurnsBytes;
  sender.stepped = after(seconds(500));
  CHECK(waits.file->late_at() == sender.stepped + kPatience);
  waits.file->check_late(after(seconds(1000)));
  CHECK_FALSE(waits.file->decided());
  SECTION("then they are silent too") {
    waits.file->check_late(after(seconds(1101)));
  }
  SECTION("its turn has come and gone") {
    sender.bytes += 1;
    CHECK(waits.file->late_at() < sender.stepped + kPatience);
    waits.file->check_late(after(seconds(601)));
  }
  CHECK(waits.file->failure());
}

TEST_CASE("fault H: a file, and all together, are bounded") {
  Place place;
  SenderPulse sender;
  SECTION("one file") {
    place.allowance.file_bytes = 99;
    const auto one = place.take(sender);
    one.send(kHeader);
    CHECK(answer_at(one.peer) == FileCode::kTooLarge);
    CHECK(one.file->failure()->text == "files of 99 bytes are taken at most");
  }
  SECTION("all: one that cannot fit any more is refused before it comes") {
    place.allowance.total_bytes = 199;
    auto one = place.take(sender);
    one.send(kHeader + std::string(100, 'x'));
    CHECK(place.allowance.taken == 100);
    const auto two = place.take(sender);
    two.send(kHeader);
    CHECK(answer_at(two.peer) == FileCode::kTooLarge);
    one.file.reset();  // it failed: what it had is given back
    CHECK(place.allowance.taken == 0);
  }
  SECTION("all: of two that fit alone, the one that comes too late ends, and the other goes on") {
    place.allowance.total_bytes = 150;
    const auto one = place.take(sender);
    const auto two = place.take(sender);
    one.send(kHeader + std::string(90, 'x'));
    two.send(kHeader + std::string(90, 'x'));
    CHECK(answer_at(two.peer) == FileCode::kTooLarge);
    one.send(std::string(10, 'x'));
    CHECK_FALSE(one.file->decided());
    CHECK(place.allowance.taken == 100);
  }
}

TEST_CASE("incoming file: no time is kept while the sender waits for us") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  Sha256 hash;
  const std::string content(100, 'x');
  hash.update(proto::as_bytes(content));
  const FileSum sum = hash.finish();
  one.send(kHeader + content + std::string(sum.begin(), sum.end()));
  one.file->check_late(after(10 * kPatience));
  CHECK_FALSE(one.file->decided());
  const auto whole = one.file->take_whole();
  REQUIRE(whole);
  CHECK(one.file->late_at() == PollSet::Clock::time_point::max());
  one.file->check_late(after(10 * kPatience));
  CHECK_FALSE(one.file->decided());
  one.file->on_committed(place.directory.commit(*whole));
  CHECK(place.allowance.taken == 100);
  one.file->check_late(after(10 * kPatience));
  CHECK_FALSE(one.file->failure());
  CHECK(answer_at(one.peer) == FileCode::kDone);
}
