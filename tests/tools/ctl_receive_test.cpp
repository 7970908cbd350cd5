// SPDX-License-Identifier: GPL-3.0-or-later
// The verb receive with a peer and a daemon that are played: what a real pair does only with luck, or never.
#include <cctype>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/daemon/temp_dir.h"
#include "tests/ipc/socket_pair.h"
#include "tests/tools/file_messages.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"
#include "tools/file_wire.h"

using namespace connd;
using namespace connd::test;
using tools::FileAnswer;
using tools::FileCode;
namespace fs = std::filesystem;

namespace {

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
    return read_decoded<FileAnswer>(peer.get(), tools::decode_answer);
  }
  TempDir directory;
  PlayedDaemon daemon;
  Program program;
};

}  // namespace

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
  // Of one peer: half of what there is, of each.
  for (; next <= 128; ++next) peers.push_back(receiver.daemon.offer(next, uri()));
  for (; next <= 128 + 512; ++next) receiver.daemon.ask(next, uri());
  receiver.daemon.notify("channel.request_cancelled", {{"request", 400}, {"reason", "cancelled"}});
  receiver.daemon.ask(next, uri());
  receiver.daemon.ask(++next, uri());
  const auto decline = receiver.daemon.expect("channel.decline");
  CHECK(decline.params["request"] == next);
  CHECK(decline.params["reason"] == "busy: too many files wait at the receiver");
  receiver.daemon.reply(decline, ipc::Json::object());
  receiver.daemon.vanish();
  peers.clear();
  CHECK(receiver.program.wait() == 8);
}

TEST_CASE("fault H: names that are odd are declined unless they are asked for") {
  for (const bool any : {false, true}) {
    Receiver receiver(any ? std::vector<std::string>{"--any-name"} : std::vector<std::string>{});
    std::uint64_t request = 1;
    for (const char* uri : {"file://.bashrc", "file://.ssh/authorized_keys", "file://a/.git/hooks/x", "file://-rf",
                            "file://a%1B%5B31m", "file://gpj.%E2%80%AEexe"}) {
      receiver.daemon.ask(request, uri);
      const auto answer = receiver.daemon.expect(any ? "channel.accept" : "channel.decline");
      CHECK(answer.params["request"] == request++);
      if (!any) CHECK(answer.params["reason"].get<std::string>().find("--any-name") != std::string::npos);
      if (any) receiver.daemon.fail(answer, ipc::Reason::kCancelled);
      if (!any) receiver.daemon.reply(answer, ipc::Json::object());
    }
    CHECK(receiver.is_empty());
    receiver.program.signal(SIGINT);
    CHECK(receiver.program.wait() == 130);
  }
}

TEST_CASE("fault H: one peer gets half of the places, the others' files come") {
  Receiver receiver;
  std::vector<ipc::Fd> peers;
  std::uint64_t next = 1;
  for (; next <= 128; ++next) peers.push_back(receiver.daemon.offer(next, "file://" + std::to_string(next)));
  receiver.daemon.ask(next, "file://waits");
  ++next;
  receiver.daemon.ask(next, "file://other", std::string(64, 'b'), std::string(40, 'b'));
  const auto accept = receiver.daemon.expect("channel.accept");
  CHECK(accept.params["request"] == next);
  receiver.daemon.vanish();
  peers.clear();
  CHECK(receiver.program.wait() == 8);
}

TEST_CASE("fault H: --max-size and --max-total are told to the sender") {
  struct Row {
    std::vector<std::string> options;
    FileCode code;
  };
  for (const Row& row :
       {Row{{"--max-size", "1k"}, FileCode::kTooLarge}, Row{{"--max-total", "1500"}, FileCode::kTooLarge},
        Row{{"--max-size", "2k", "--max-total", "2000"}, FileCode::kDone}}) {
    std::vector<std::string> options = row.options;
    options.insert(options.end(), {"--count", "1"});
    Receiver receiver(options);
    const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
    static_cast<void>(receiver.daemon.expect("listen.remove"));
    const std::string content(2000, 'x');
    write_all(peer.get(), header_of(content.size()) + content + sum_of(content));
    CHECK(receiver.answer(peer, 1).code == row.code);
    CHECK(receiver.is_empty() == (row.code != FileCode::kDone));
    ::shutdown(peer.get(), SHUT_WR);
    receiver.daemon.tell_end(1, "closed");
    CHECK(receiver.program.wait() == (row.code == FileCode::kDone ? 0 : 1));
  }
}

TEST_CASE("fault H: it does not start in a git work tree or a home directory unless told") {
  const TempDir directory;
  fs::create_directory(directory.file(".git"));
  const PlayedDaemon nobody;
  Program program({"--socket", nobody.path(), "receive", directory.path()});
  CHECK(program.wait() == 2);
  CHECK(program.error_is_one_line());
  CHECK(program.errors().find("--any-directory") != std::string::npos);

  const char* home = std::getenv("HOME");
  const std::string before = home != nullptr ? home : "";
  const TempDir other;
  ::setenv("HOME", other.path().c_str(), 1);
  Program at_home({"--socket", nobody.path(), "receive", other.path()});
  ::setenv("HOME", before.c_str(), 1);
  CHECK(at_home.wait() == 2);
  CHECK(at_home.errors().find("home directory") != std::string::npos);

  PlayedDaemon daemon;
  Program told({"--socket", daemon.path(), "receive", directory.path(), "--any-directory"});
  daemon.take_listener();
  told.signal(SIGINT);
  CHECK(told.wait() == 130);
}

TEST_CASE("fault E5: it ends when its directory is removed, and the senders hear of it") {
  Receiver receiver;
  const ipc::Fd peer = receiver.daemon.offer(1, "file://name");
  fs::remove(receiver.directory.path());
  receiver.daemon.ask(2, "file://late");
  const auto decline = receiver.daemon.expect("channel.decline");
  CHECK(decline.params["request"] == 2);
  receiver.daemon.reply(decline, ipc::Json::object());
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  CHECK(receiver.answer(peer, 1).code == FileCode::kFailed);
  ::shutdown(peer.get(), SHUT_WR);
  receiver.daemon.tell_end(1, "closed");
  CHECK(receiver.program.wait() == 1);
  CHECK(receiver.program.errors().find(" is gone: it was removed") != std::string::npos);
  fs::create_directory(receiver.directory.path());
}

TEST_CASE("fault E5: it notices by itself that its directory is gone") {
  Receiver receiver;
  fs::remove(receiver.directory.path());
  static_cast<void>(receiver.daemon.expect("listen.remove"));
  receiver.daemon.vanish();
  CHECK(receiver.program.wait() == 1);
  fs::create_directory(receiver.directory.path());
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
