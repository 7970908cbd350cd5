// SPDX-License-Identifier: GPL-3.0-or-later
// The verb send with a peer and a daemon that are played: what a real pair does only with luck, or never.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/daemon/temp_dir.h"
#include "tests/ipc/socket_pair.h"
#include "tests/tools/file_messages.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"
#include "tools/file_transfer.h"
#include "tools/file_wire.h"

using namespace connd;
using namespace connd::test;
using tools::FileAnswer;
using tools::FileCode;
namespace fs = std::filesystem;

namespace {

std::vector<ipc::Json> json_lines(const std::string& text) {
  std::vector<ipc::Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(ipc::Json::parse(line));
  return lines;
}

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
    CHECK(read_decoded<tools::FileHeader>(peer.get(), tools::decode_header).size == size);
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

TEST_CASE("fault E4: a file whose size is not true is not sent as if it were") {
  // stat says 0 of the first, and 4096 of the second, which has less.
  for (const char* file : {"/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"}) {
    if (!fs::exists(file)) continue;
    PlayedDaemon daemon;
    Program program({"--socket", daemon.path(), "send", "bob", file});
    daemon.greet();
    auto ends = socket_pair();
    daemon.reply(daemon.expect("channel.open"),
                 {{"channel", 7}, {"device", kPeer}, {"account", kAccount}, {"half_close", true}},
                 std::move(ends.second));
    const auto header = read_decoded<tools::FileHeader>(ends.first.get(), tools::decode_header);
    CHECK(read_all(ends.first.get()).size() <= header.size);  // the sum never comes
    daemon.tell_end(7, "cancelled");
    CHECK(program.wait() == 1);
    CHECK(program.error_is_one_line());
    CHECK(program.errors().find("bytes that its size says") != std::string::npos);
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
