// SPDX-License-Identifier: GPL-3.0-or-later
// The verbs send and receive with a peer and a daemon that are played: what a real pair does only with luck, or never.
#include <poll.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/daemon/temp_dir.h"
#include "tests/ipc/socket_pair.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"
#include "tools/file_transfer.h"
#include "tools/file_wire.h"
#include "tools/sha256.h"

using namespace connd;
using namespace connd::test;
using tools::FileAnswer;
using tools::FileCode;
namespace fs = std::filesystem;

namespace {

std::string text_of(const proto::ByteVector& bytes) {
  return std::string(proto::as_text(bytes));
}

std::string sum_of(const std::string& content) {
  tools::Sha256 hash;
  hash.update(proto::as_bytes(content));
  const tools::FileSum sum = hash.finish();
  return {sum.begin(), sum.end()};
}

std::string header_of(std::uint64_t size) {
  return text_of(tools::encode_header({size, 0, 0644}));
}

std::string read_exactly(int fd, std::size_t size) {
  std::string text(size, '\0');
  REQUIRE(::recv(fd, text.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
  return text;
}

std::vector<ipc::Json> json_lines(const std::string& text) {
  std::vector<ipc::Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(ipc::Json::parse(line));
  return lines;
}

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// `receive` into a directory of its own; the test is the sender.
struct Receiver {
  explicit Receiver(std::vector<std::string> more = {}) : program(arguments(std::move(more))) {
    daemon.take_listener();
  }
  std::vector<std::string> arguments(std::vector<std::string> more) {
    std::vector<std::string> all = {"--socket", daemon.path(), "receive", directory.path()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] bool is_empty() const { return fs::is_empty(directory.path()); }
  /// The answer, after which our direction is ended as a sender's should be.
  FileAnswer answer(const ipc::Fd& peer, std::uint64_t handle) {
    daemon.finish(handle);
    proto::ByteVector bytes;
    while (true) {
      const auto outcome = tools::decode_answer(bytes);
      if (const auto* answer = std::get_if<FileAnswer>(&outcome)) return *answer;
      REQUIRE(std::holds_alternative<tools::NeedMore>(outcome));
      const std::string more = read_exactly(peer.get(), std::get<tools::NeedMore>(outcome).bytes);
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
  }
  TempDir directory;
  PlayedDaemon daemon;
  Program program;
};

/// `send` of one file with this content; the test is the receiver.
struct Sender {
  explicit Sender(const std::string& content, bool half_close = true) : file(fs::path(directory.path()) / "name") {
    std::ofstream(file, std::ios::binary) << content;
    program.emplace(std::vector<std::string>{"--socket", daemon.path(), "send", "bob", file});
    daemon.greet();
    const auto open = daemon.expect("channel.open");
    CHECK(open.params["uri"] == "file://name");
    CHECK(open.params["strict_end"] == true);
    auto ends = socket_pair();
    const int wide = 212'992;  // what any user may ask for; the kernel doubles it, so that a whole chunk fits
    REQUIRE(::setsockopt(ends.second.get(), SOL_SOCKET, SO_SNDBUF, &wide, sizeof wide) == 0);
    daemon.reply(open, {{"channel", 7}, {"device", kPeer}, {"account", kAccount}, {"half_close", half_close}},
                 std::move(ends.second));
    peer = std::move(ends.first);
  }
  void read_header(std::uint64_t size) {
    proto::ByteVector bytes;
    while (true) {
      const auto outcome = tools::decode_header(bytes);
      if (const auto* header = std::get_if<tools::FileHeader>(&outcome)) {
        CHECK(header->size == size);
        return;
      }
      REQUIRE(std::holds_alternative<tools::NeedMore>(outcome));
      const std::string more = read_exactly(peer.get(), std::get<tools::NeedMore>(outcome).bytes);
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
  }
  int answer(const FileAnswer& answer) {
    write_all(peer.get(), text_of(tools::encode_answer(answer)));
    daemon.finish(7);
    peer.reset();
    daemon.tell_end(7, "closed");
    return program->wait();
  }
  TempDir directory;
  fs::path file;
  PlayedDaemon daemon;
  std::optional<Program> program;
  ipc::Fd peer;
};

}  // namespace

// ---- receive

TEST_CASE("receive: header, content and sum, one byte at a time") {
  Receiver receiver({"--count", "1"});
  const ipc::Fd peer = receiver.daemon.offer(1, "file://a%20b");
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  for (const char byte : header_of(5) + "hello" + sum_of("hello")) write_all(peer.get(), std::string(1, byte));
  CHECK(receiver.answer(peer, 1) == FileAnswer{});
  CHECK(content_of(fs::path(receiver.directory.path()) / "a b") == "hello");
  ::shutdown(peer.get(), SHUT_WR);
  receiver.daemon.tell_end(1, "closed");
  CHECK(receiver.program.wait() == 0);
  CHECK(receiver.program.output().starts_with("a b: received from 0011223344556677"));
}

TEST_CASE("receive: a sender that lies is told so, and nothing is kept") {
  struct Row {
    std::string bytes;
    FileCode code;
    int exit_code;
  };
  for (const Row& row : {Row{header_of(5) + "hello" + sum_of("hellO"), FileCode::kWrongSum, 8},
                         Row{header_of(4) + "hello" + sum_of("hello"), FileCode::kWrongSum, 8},
                         Row{header_of(0) + sum_of("x"), FileCode::kWrongSum, 8},
                         Row{header_of(tools::kMaxFileBytes), FileCode::kNoSpace, 1},
                         Row{std::string("\0\0\0\1\xC1", 5), FileCode::kMalformed, 8},
                         Row{std::string("\xFF\xFF\xFF\xFF", 4), FileCode::kMalformed, 8}}) {
    Receiver receiver({"--count", "1"});
    const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
    static_cast<void>(receiver.daemon.expect("listen.remove"));
    write_all(peer.get(), row.bytes);
    CHECK(receiver.answer(peer, 1).code == row.code);
    CHECK(receiver.is_empty());
    ::shutdown(peer.get(), SHUT_WR);
    receiver.daemon.tell_end(1, "closed");
    CHECK(receiver.program.wait() == row.exit_code);
    CHECK(receiver.program.error_is_one_line() == false);  // "listening", and the error
    CHECK(receiver.program.errors().find("receive: name: ") != std::string::npos);
  }
}

TEST_CASE("receive: content that ends early is answered, and its channel's end tells why") {
  for (const char* end : {"closed", "reset"}) {
    Receiver receiver({"--count", "1"});
    const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
    static_cast<void>(receiver.daemon.expect("listen.remove"));
    write_all(peer.get(), header_of(500) + "hello");
    ::shutdown(peer.get(), SHUT_WR);
    CHECK(receiver.answer(peer, 1).code == FileCode::kMalformed);
    CHECK(receiver.is_empty());
    receiver.daemon.tell_end(1, end);
    CHECK(receiver.program.wait() == 8);
    CHECK(receiver.program.errors().find("after 5 of 500 bytes") != std::string::npos);
    CHECK(receiver.program.errors().find(end == std::string("reset") ? "(reset)" : "(protocol-error)") !=
          std::string::npos);
  }
}

TEST_CASE("receive --json: a reader that goes away ends it") {
  Receiver receiver({"--json"});
  while (receiver.program.read(1) != "\n") {
  }
  receiver.program.out.reset();
  const ipc::Fd peer = receiver.daemon.offer(1, "file://a");
  write_all(peer.get(), header_of(0) + sum_of(""));
  CHECK(receiver.answer(peer, 1) == FileAnswer{});
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  receiver.daemon.vanish();
  CHECK(receiver.program.wait() == 141);
}

TEST_CASE("receive: a file beyond the process's limit fails alone") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit small{4'096, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  Receiver receiver({"--count", "2"});
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  const ipc::Fd large = receiver.daemon.offer(1, "file://large");
  write_all(large.get(), header_of(10'000) + std::string(10'000, 'x'));
  CHECK(receiver.answer(large, 1).code != FileCode::kDone);
  const ipc::Fd small_one = receiver.daemon.offer(2, "file://small");
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  write_all(small_one.get(), header_of(5) + "hello" + sum_of("hello"));
  CHECK(receiver.answer(small_one, 2) == FileAnswer{});
  receiver.daemon.vanish();
  CHECK(receiver.program.wait() != 128 + SIGXFSZ);
  CHECK(content_of(fs::path(receiver.directory.path()) / "small") == "hello");
}

TEST_CASE("receive: names that lead elsewhere, and files that exist, are declined") {
  Receiver receiver({"--count", "4"});
  std::ofstream(fs::path(receiver.directory.path()) / "old") << "mine";
  std::uint64_t request = 1;
  for (const char* uri : {"file://..", "file://a%2F..%2Fb", "file:///etc/passwd", "file://old"}) {
    receiver.daemon.ask(request, uri);
    const auto decline = receiver.daemon.expect("channel.decline");
    CHECK(decline.params["request"] == request++);
    CHECK_FALSE(decline.params["reason"].get<std::string>().empty());
    receiver.daemon.reply(decline, ipc::Json::object());
  }
  CHECK(receiver.program.wait() == 1);  // bad-name is the first
  CHECK(content_of(fs::path(receiver.directory.path()) / "old") == "mine");
}

TEST_CASE("receive --from: others are declined, and do not count") {
  PlayedDaemon daemon;
  const TempDir directory;
  Program program({"--socket", daemon.path(), "receive", directory.path(), "--from", "alice", "--count", "1"});
  daemon.greet();
  const std::string other(64, 'a');
  daemon.reply(daemon.expect("alias.list"), {{"aliases", ipc::Json::array({{{"name", "alice"}, {"device", other}}})}});
  const auto add = daemon.expect("listen.add");
  CHECK(add.params["peers"] == ipc::Json::array({other}));
  CHECK(add.params["uri"] == "file://");
  CHECK(add.params["prefix"] == true);
  daemon.reply(add, {{"listener", 3}});
  daemon.ask(1, "file://name");
  const auto decline = daemon.expect("channel.decline");
  CHECK(decline.params["request"] == 1);
  program.signal(SIGINT);
  CHECK(program.wait() == 130);
}

TEST_CASE("receive --from: an id in capital digits is the same device") {
  std::string capital = kPeer;
  for (char& digit : capital) digit = static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
  PlayedDaemon daemon;
  const TempDir directory;
  Program program({"--socket", daemon.path(), "receive", directory.path(), "--from", capital});
  daemon.greet();
  const auto add = daemon.expect("listen.add");
  CHECK(add.params["peers"] == ipc::Json::array({kPeer}));
  daemon.reply(add, {{"listener", 3}});
  const ipc::Fd peer = daemon.offer(1, "file://name");  // accepted
  program.signal(SIGINT);
  CHECK(program.wait() == 130);
}

TEST_CASE("receive: interrupted, it tells the sender and leaves nothing") {
  Receiver receiver;
  const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
  write_all(peer.get(), header_of(500) + "hello");
  // The hidden file shows that the content has been begun.
  while (receiver.is_empty()) ::sched_yield();
  receiver.program.signal(SIGINT);
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  CHECK(receiver.answer(peer, 1).code == FileCode::kInterrupted);
  ::shutdown(peer.get(), SHUT_WR);
  receiver.daemon.tell_end(1, "closed");
  CHECK(receiver.program.wait() == 130);
  CHECK(receiver.is_empty());
}

TEST_CASE("receive: requests that were taken back make room for others") {
  Receiver receiver;
  std::vector<ipc::Fd> peers;
  std::uint64_t next = 1;
  const auto uri = [&next] { return "file://" + std::to_string(next); };
  for (; next <= 256; ++next) peers.push_back(receiver.daemon.offer(next, uri()));
  for (; next <= 256 + 1024; ++next) receiver.daemon.ask(next, uri());
  receiver.daemon.notify("channel.request_cancelled", {{"request", 700}, {"reason", "cancelled"}});
  receiver.daemon.ask(next, uri());
  receiver.daemon.ask(++next, uri());
  const auto decline = receiver.daemon.expect("channel.decline");
  CHECK(decline.params["request"] == next);
  CHECK(decline.params["reason"] == "busy: too many files wait");
  receiver.daemon.reply(decline, ipc::Json::object());
  receiver.daemon.vanish();
  peers.clear();
  CHECK(receiver.program.wait() == 8);
}

// By hand, as it takes its minute: ctl_test "[minute]". The times: incoming_file_test.cpp.
TEST_CASE("receive: a sender that is silent for a minute is told so", "[.][minute]") {
  Receiver receiver({"--count", "1"});
  const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  write_all(peer.get(), header_of(500) + "hello");
  pollfd answer{peer.get(), POLLIN, 0};
  REQUIRE(::poll(&answer, 1, 59'000) == 0);
  REQUIRE(::poll(&answer, 1, 3'000) == 1);
  CHECK(receiver.answer(peer, 1).code == FileCode::kTimedOut);
  CHECK(receiver.is_empty());
  ::shutdown(peer.get(), SHUT_WR);
  receiver.daemon.tell_end(1, "closed");
  CHECK(receiver.program.wait() == 7);
}

TEST_CASE("receive: the daemon goes") {
  Receiver receiver;
  ipc::Fd peer = receiver.daemon.offer(1, "file://name");
  write_all(peer.get(), header_of(500) + "hello");
  while (receiver.is_empty()) ::sched_yield();
  peer.reset();
  receiver.daemon.vanish();
  CHECK(receiver.program.wait() == 8);
  CHECK(receiver.is_empty());
}

TEST_CASE("receive: a directory that is not there") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "receive", "/nonexistent/place"});
  CHECK(program.wait() == 1);
  CHECK(program.error_is_one_line());
}

// ---- send

TEST_CASE("send: header, content and sum, then the answer") {
  for (const bool half_close : {true, false}) {
    const std::string content(1'000'000, 'x');
    Sender sender(content, half_close);
    sender.read_header(content.size());
    CHECK(read_exactly(sender.peer.get(), content.size()) == content);
    CHECK(read_exactly(sender.peer.get(), 32) == sum_of(content));
    CHECK(sender.answer({}) == 0);
    CHECK(sender.program->output().starts_with("name: sent, 1.0 MB in "));
  }
}

// The last byte of this content ends what one turn may send; the answer is there before the next turn.
TEST_CASE("send: an answer right behind the last byte is the answer to all") {
  const std::string content(tools::kFileChunkBytes, 'x');
  const std::string done = text_of(tools::encode_answer({}));
  for (int round = 0; round < 20; ++round) {
    Sender sender(content);
    sender.read_header(content.size());
    for (int waiting = 0; waiting != static_cast<int>(content.size()) + 32;)
      REQUIRE(::ioctl(sender.peer.get(), FIONREAD, &waiting) == 0);
    write_all(sender.peer.get(), done);
    sender.daemon.finish(7);
    sender.peer.reset();
    sender.daemon.tell_end(7, "closed");
    CHECK(sender.program->wait() == 0);
  }
}

TEST_CASE("send: a refusal while the content is sent stops it") {
  struct Row {
    FileCode code;
    int exit_code;
  };
  for (const Row& row : {Row{FileCode::kFailed, 1}, Row{FileCode::kNoSpace, 1}, Row{FileCode::kExists, 5},
                         Row{FileCode::kWrongSum, 8}, Row{FileCode::kInterrupted, 8}, Row{FileCode{77}, 5}}) {
    Sender sender(std::string(10'000'000, 'x'));
    sender.read_header(10'000'000);
    CHECK(sender.answer({row.code, "so it is\n"}) == row.exit_code);
    CHECK(sender.program->error_is_one_line());
    CHECK(sender.program->errors().find("so it is\\x0a") != std::string::npos);
  }
}

TEST_CASE("send: 'done' before all was sent is no success") {
  Sender sender(std::string(10'000'000, 'x'));
  sender.read_header(10'000'000);
  CHECK(sender.answer({}) == 8);
}

TEST_CASE("send: an end without an answer is no success") {
  for (const char* reason : {"closed", "reset", "connection-lost"}) {
    Sender sender("hello");
    sender.read_header(5);
    static_cast<void>(read_exactly(sender.peer.get(), 5 + 32));
    sender.peer.reset();
    if (reason == std::string("closed")) sender.daemon.finish(7);
    sender.daemon.tell_end(7, reason);
    CHECK(sender.program->wait() == 8);
    CHECK(sender.program->error_is_one_line());
  }
}

TEST_CASE("send: a file that shrinks, grows or changes while it is sent is not completed") {
  const std::string content(10'000'000, 'x');
  for (const char* how : {"shrinks", "grows", "changes"}) {
    INFO(how);
    Sender sender(content);
    sender.read_header(content.size());  // it is under way, and waits for us
    if (how == std::string("shrinks")) fs::resize_file(sender.file, 9'000'000);
    if (how == std::string("grows")) fs::resize_file(sender.file, 11'000'000);
    if (how == std::string("changes")) {
      std::fstream(sender.file, std::ios::in | std::ios::out | std::ios::binary) << "y";
      fs::last_write_time(sender.file, fs::file_time_type::clock::now() + std::chrono::seconds(1));
    }
    const std::string got = read_all(sender.peer.get());
    CHECK(got.size() <= content.size());  // the sum never comes
    sender.daemon.tell_end(7, "cancelled");
    CHECK(sender.program->wait() == 1);
    CHECK(sender.program->error_is_one_line());
    CHECK(sender.program->errors().find("while it was sent") != std::string::npos);
  }
}

TEST_CASE("send: a peer that takes nothing is told once, however many files there are") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "send", "bob", "/bin/sh", "/bin/ls", "/bin/cat"});
  daemon.greet();
  daemon.fail(daemon.expect("channel.open"), ipc::Reason::kNoListener);
  CHECK(program.wait() == 5);
  CHECK(program.errors().find("2 more were not sent") != std::string::npos);
  CHECK(program.errors().find("jami-connctl receive DIR") != std::string::npos);
  CHECK(std::count(program.errors().begin(), program.errors().end(), '\n') == 2);
  CHECK(program.output().find("3 files failed") != std::string::npos);
}

TEST_CASE("send --json: a peer that takes nothing fails each file") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "send", "--json", "bob", "/bin/sh", "/bin/ls", "/bin/cat"});
  daemon.greet();
  daemon.fail(daemon.expect("channel.open"), ipc::Reason::kNoAnswerOrRefused, "why");
  CHECK(program.wait() == 4);
  const auto lines = json_lines(program.output());
  REQUIRE(lines.size() == 4);
  std::set<std::string> names;
  for (std::size_t i = 0; i < 3; ++i) {
    names.insert(lines[i]["name"]);
    CHECK(lines[i]["type"] == "file.failed");
    CHECK(lines[i]["peer"] == "");
    CHECK(lines[i]["reason"] == "no-answer-or-refused");
    CHECK(lines[i]["detail"] == "why");
    CHECK(lines[i]["message"].get<std::string>().starts_with("it was not tried") == (i > 0));
  }
  CHECK(names == std::set<std::string>{"sh", "ls", "cat"});
  CHECK(lines[3]["files"] == 0);
  CHECK(lines[3]["failed"] == 3);
  CHECK(std::count(program.errors().begin(), program.errors().end(), '\n') == 2);
}

TEST_CASE("send: opens in flight that fail for what concerns all are counted; what has its channel goes on") {
  for (const bool json : {false, true}) {
    const TempDir directory;
    std::vector<std::string> arguments = {"send", json ? "--json" : "-v", "bob"};
    for (const char* name : {"a", "b", "c"}) {
      arguments.push_back(directory.path() + "/" + name);
      std::ofstream(arguments.back()) << "hello";
    }
    PlayedDaemon daemon;
    arguments.insert(arguments.begin(), {"--socket", daemon.path()});
    Program program(arguments);
    ipc::Fd peer = daemon.open_channel();
    const auto second = daemon.expect("channel.open");
    const auto third = daemon.expect("channel.open");
    daemon.fail(second, ipc::Reason::kBanned);
    daemon.fail(third, ipc::Reason::kNotPermitted);
    program.wait_for_error("(banned)");
    static_cast<void>(read_exactly(peer.get(), header_of(5).size()));  // its time stamp is longer or shorter
    write_all(peer.get(), text_of(tools::encode_answer({FileCode::kNoSpace, "full"})));
    daemon.finish(7);
    peer.reset();
    daemon.tell_end(7, "closed");
    CHECK(program.wait() == 6);  // of the first that failed
    CHECK(program.errors().find("(banned)") != std::string::npos);
    CHECK(program.errors().find("(not-permitted)") == std::string::npos);
    CHECK(program.errors().find("send: a: ") != std::string::npos);
    CHECK(program.errors().find("1 more were not sent") != std::string::npos);
    CHECK(std::count(program.errors().begin(), program.errors().end(), '\n') == 3);
    if (!json) {
      CHECK(program.output().find("3 files failed") != std::string::npos);
      continue;
    }
    const auto lines = json_lines(program.output());
    REQUIRE(lines.size() == 4);
    CHECK(lines[0]["name"] == "b");
    CHECK(lines[0]["reason"] == "banned");
    std::map<std::string, std::string> others;  // in any order
    for (const std::size_t i : {1, 2}) others[lines[i]["name"]] = lines[i]["reason"];
    CHECK(others == std::map<std::string, std::string>{{"a", "resource-limit"}, {"c", "not-permitted"}});
    CHECK(lines[3]["failed"] == 3);
  }
}

TEST_CASE("send: files that cannot be read fail alone; the exit code is the first one's") {
  Sender sender("hello");
  sender.read_header(5);
  static_cast<void>(read_exactly(sender.peer.get(), 5 + 32));
  CHECK(sender.answer({}) == 0);

  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "send", "bob", "/nonexistent/file", "/dev/null", "/tmp"});
  daemon.greet();
  daemon.expect_end();
  CHECK(program.wait() == 1);
  CHECK(std::count(program.errors().begin(), program.errors().end(), '\n') == 3);
}

TEST_CASE("send -r: a directory that becomes a link after it was listed leads nowhere") {
  const TempDir place;
  const fs::path top = fs::path(place.path()) / "top";
  const fs::path outside = fs::path(place.path()) / "outside";
  for (const char* name : {"top/a", "top/b/deep", "outside/deep"})
    fs::create_directories(place.path() / fs::path(name));
  for (const char* name : {"top/a/1", "top/b/deep/2", "outside/deep/2", "top/c"}) {
    std::ofstream(place.path() / fs::path(name)) << "x";
  }
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "send", "-r", "bob", top});
  daemon.greet();
  // The list is made, and its first file open.
  const auto open = daemon.expect("channel.open");
  CHECK(open.params["uri"] == "file://top/a/1");
  fs::rename(top / "b", fs::path(place.path()) / "away");
  fs::create_directory_symlink(outside, top / "b");
  daemon.fail(open, ipc::Reason::kDeclined);
  const auto next = daemon.expect("channel.open");
  CHECK(next.params["uri"] == "file://top/c");
  daemon.fail(next, ipc::Reason::kDeclined);
  daemon.expect_end();
  CHECK(program.wait() == 5);
  CHECK(program.errors().find("top/b/deep/2: cannot read it: ") != std::string::npos);
}

TEST_CASE("send: interrupted, it aborts") {
  Sender sender(std::string(10'000'000, 'x'));
  sender.read_header(10'000'000);
  sender.program->signal(SIGTERM);
  CHECK(read_all(sender.peer.get()).size() < 10'000'000);
  sender.daemon.tell_end(7, "cancelled");
  CHECK(sender.program->wait() == 143);
  CHECK(sender.program->errors().find("interrupted: 0 of 1 files are there") != std::string::npos);
}

TEST_CASE("send: two files of one name are a usage error") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "send", "bob", "/bin/sh", "/usr/bin/sh"});
  CHECK(program.wait() == 2);
  CHECK(program.error_is_one_line());
}
