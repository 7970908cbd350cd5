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
      one.file = std::make_unique<IncomingFile>(std::move(*channel), FilePath{name}, directory, scratch, sender);
    });
    server.reply(server.expect("channel.open"), open_result(next_), std::move(ends.second));
    REQUIRE(one.file);
    one.peer = std::move(ends.first);
    return one;
  }
  [[nodiscard]] bool is_empty() const { return std::filesystem::is_empty(temp.path()); }

  ScriptServer server;
  TempDir temp;
  ReceiveDir directory = std::move(*ReceiveDir::open(temp.path(), false));
  proto::ByteVector scratch = proto::ByteVector(kFileChunkBytes);

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

TEST_CASE("incoming file: a sender that is silent in header, content or sum is given up") {
  for (const std::string& sent : {std::string(), kHeader.substr(0, 7), kHeader, kHeader + std::string(40, 'x'),
                                  kHeader + std::string(100, 'x'), kHeader + std::string(131, 'x')}) {
    Place place;
    SenderPulse sender;
    const auto begin = PollSet::Clock::now();
    const auto one = place.take(sender);
    if (!sent.empty()) one.send(sent);
    CHECK(one.file->silent_at() >= begin + kMaxSilence);
    one.file->check_silence(begin + kMaxSilence - seconds(1));
    CHECK_FALSE(one.file->decided());
    one.file->check_silence(after(kMaxSilence));
    REQUIRE(one.file->decided());
    REQUIRE(one.file->failure());
    CHECK(one.file->failure()->reason == ipc::Reason::kTimedOut);
    CHECK(one.file->failure()->text.find("for 60 s") != std::string::npos);
    CHECK(answer_at(one.peer) == FileCode::kTimedOut);
    CHECK(place.is_empty());
  }
}

TEST_CASE("incoming file: a sender that is slow is waited for") {
  Place place;
  SenderPulse sender;
  const auto one = place.take(sender);
  for (const char byte : kHeader + std::string(100, 'x')) {
    const auto before = one.file->silent_at();
    one.send(std::string(1, byte));
    CHECK(one.file->silent_at() > before);
  }
  // What has come while this side was busy counts, however late it is read.
  write_all(one.peer.get(), "sum");
  one.file->check_silence(after(10 * kMaxSilence));
  CHECK_FALSE(one.file->decided());
}

TEST_CASE("incoming file: it waits for its turn while the sender's others have theirs") {
  Place place;
  SenderPulse sender;
  const auto waits = place.take(sender);
  waits.send(kHeader);
  sender.bytes += kTurnsBytes;
  sender.last = after(seconds(50));
  CHECK(waits.file->silent_at() == sender.last + kMaxSilence);
  waits.file->check_silence(after(seconds(100)));
  CHECK_FALSE(waits.file->decided());
  SECTION("then they are silent too") {
    waits.file->check_silence(after(seconds(111)));
  }
  SECTION("its turn has come and gone") {
    sender.bytes += 1;
    CHECK(waits.file->silent_at() < sender.last + kMaxSilence);
    waits.file->check_silence(after(seconds(61)));
  }
  CHECK(waits.file->failure());
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
  one.file->check_silence(after(10 * kMaxSilence));
  CHECK_FALSE(one.file->decided());
  const auto whole = one.file->take_whole();
  REQUIRE(whole);
  CHECK(one.file->silent_at() == PollSet::Clock::time_point::max());
  one.file->check_silence(after(10 * kMaxSilence));
  CHECK_FALSE(one.file->decided());
  one.file->on_committed(place.directory.commit(*whole));
  one.file->check_silence(after(10 * kMaxSilence));
  CHECK_FALSE(one.file->failure());
  CHECK(answer_at(one.peer) == FileCode::kDone);
}
