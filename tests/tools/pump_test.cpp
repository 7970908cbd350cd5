// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/pump.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <openssl/sha.h>
#include <sys/socket.h>

#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

constexpr std::size_t kBigBytes = std::size_t{64} << 20;  // many times every buffer on the way

/// Bytes that say where they are, so that lost, doubled and swapped ones change the sum.
std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 12345;
  for (char& c : out) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

std::string sum_of(const std::string& bytes) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
           reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

bool write_everything(int fd, const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (n <= 0) return false;
    at += static_cast<std::size_t>(n);
  }
  return true;
}

ipc::Fd temporary_file() {
  std::string name = "/tmp/connctl-test-XXXXXX";
  ipc::Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  REQUIRE(fd);
  ::unlink(name.c_str());
  return fd;
}

/// What came out at both ends when `up` went in at stdin and `down` at the peer.
struct Exchange {
  std::string up;
  std::string down;
  int exit_code = -1;
};

Exchange exchange(PlayedDaemon& daemon, Program& program, const std::string& up, const std::string& down,
                  bool write_stdin) {
  Exchange got;
  ipc::Fd peer = daemon.open_channel();
  std::thread writer([&] {
    if (write_stdin) write_everything(program.in.get(), up);
    program.in.reset();
  });
  std::thread reader([&] {
    if (program.out) got.down = read_all(program.out.get());
  });
  std::thread sender([&] {
    write_everything(peer.get(), down);
    ::shutdown(peer.get(), SHUT_WR);
  });
  got.up.resize(up.size());
  // Nothing is expected: recv of no bytes would wait all the same.
  const ssize_t n = up.empty() ? 0 : ::recv(peer.get(), got.up.data(), got.up.size(), MSG_WAITALL);
  got.up.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  daemon.finish(7);
  sender.join();
  daemon.tell_end(7, "closed");
  reader.join();
  writer.join();
  got.exit_code = program.wait();
  return got;
}

}  // namespace

TEST_CASE("pump: big data through pipes, both ways at once") {
  // Made first: a sanitizer takes its time over it, and the program waits for its greeting 10 s only.
  const std::string up = pattern(kBigBytes);
  const std::string down = pattern(kBigBytes + 17);
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "open", "bob", "x"});
  const Exchange got = exchange(daemon, program, up, down, true);
  CHECK(got.exit_code == 0);
  CHECK(got.up.size() == up.size());
  CHECK(sum_of(got.up) == sum_of(up));
  CHECK(got.down.size() == down.size());
  CHECK(sum_of(got.down) == sum_of(down));
}

TEST_CASE("pump: one direction alone goes on by itself when a turn's bound is reached") {
  // Nothing else wakes the loop then. Each round can meet it or not: both ends must keep up for 16 moves.
  const std::string down = pattern(std::size_t{16} << 20);
  for (int round = 0; round < 10; ++round) {
    PlayedDaemon daemon;
    const ipc::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    Program program({"--socket", daemon.path(), "open", "bob", "x"}, {.in = null.get()});
    const Exchange got = exchange(daemon, program, "", down, false);
    CHECK(got.exit_code == 0);
    CHECK(sum_of(got.down) == sum_of(down));
  }
}

TEST_CASE("pump: big data from and to regular files") {
  PlayedDaemon daemon;
  const ipc::Fd in = temporary_file();
  const ipc::Fd out = temporary_file();
  const std::string up = pattern(kBigBytes + 3);
  const std::string down = pattern(kBigBytes);
  REQUIRE(write_everything(in.get(), up));
  ::lseek(in.get(), 0, SEEK_SET);
  Program program({"--socket", daemon.path(), "open", "bob", "x"}, {in.get(), out.get()});
  const Exchange got = exchange(daemon, program, up, down, false);
  CHECK(got.exit_code == 0);
  CHECK(sum_of(got.up) == sum_of(up));
  ::lseek(out.get(), 0, SEEK_SET);
  CHECK(sum_of(read_all(out.get())) == sum_of(down));
}

TEST_CASE("pump: sockets as stdin and stdout") {
  const std::string up = pattern(1'000'003);
  const std::string down = pattern(2'000'003);
  PlayedDaemon daemon;
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const ipc::Fd ours(ends[0]);
  ipc::Fd theirs(ends[1]);
  Program program({"--socket", daemon.path(), "open", "bob", "x"}, {theirs.get(), theirs.get()});
  theirs.reset();
  program.in.reset();
  program.out = ipc::Fd(::dup(ours.get()));
  std::thread writer([&] {
    write_everything(ours.get(), up);
    ::shutdown(ours.get(), SHUT_WR);
  });
  const Exchange got = exchange(daemon, program, up, down, false);
  writer.join();
  CHECK(got.exit_code == 0);
  CHECK(got.up == up);
  CHECK(got.down == down);
}

TEST_CASE("pump: nothing at all in either direction") {
  PlayedDaemon daemon;
  const ipc::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Program program({"--socket", daemon.path(), "open", "bob", "x"}, {null.get(), null.get()});
  const Exchange got = exchange(daemon, program, "", "", false);
  CHECK(got.exit_code == 0);
}

TEST_CASE("pump: a full disk aborts the channel and says so") {
  PlayedDaemon daemon;
  const ipc::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  Program program({"--socket", daemon.path(), "open", "bob", "x"}, {.out = full.get()});
  const ipc::Fd peer = daemon.open_channel();
  REQUIRE(write_everything(peer.get(), "data"));
  daemon.close(7);
  CHECK(program.wait() == 1);
  CHECK(program.errors().find("No space left") != std::string::npos);
}

TEST_CASE("pump: a stdin that cannot be read aborts the channel and says so") {
  PlayedDaemon daemon;
  const ipc::Fd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Program program({"--socket", daemon.path(), "open", "bob", "x"}, {.in = directory.get()});
  const ipc::Fd peer = daemon.open_channel();
  daemon.close(7);
  CHECK(program.wait() == 1);
  CHECK(program.errors().find("cannot read standard input") != std::string::npos);
}
