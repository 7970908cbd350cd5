// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/tools/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include <catch2/catch.hpp>
#include <sys/wait.h>

namespace connd::test {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
    reader.reset(fds[0]);
    writer.reset(fds[1]);
  }
  ipc::Fd reader;
  ipc::Fd writer;
};

}  // namespace

std::string read_all(int fd) {
  std::string text;
  std::array<char, 65536> chunk{};
  ssize_t n = 0;
  while ((n = ::read(fd, chunk.data(), chunk.size())) > 0) text.append(chunk.data(), static_cast<std::size_t>(n));
  return text;
}

Program::Program(std::vector<std::string> arguments, Ends ends) {
  std::signal(SIGPIPE, SIG_IGN);
  // A script's background job is started with these ignored, and would hand that on.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGQUIT, SIG_DFL);
  Pipe to;
  Pipe from;
  Pipe error;
  arguments.insert(arguments.begin(), CONND_CTL);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends.in >= 0 ? ends.in : to.reader.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, ends.out >= 0 ? ends.out : from.writer.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, error.writer.get(), 2);
  REQUIRE(::posix_spawn(&pid_, CONND_CTL, &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  in = std::move(to.writer);
  out = std::move(from.reader);
  err = std::move(error.reader);
}

Program::~Program() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Program::write(const std::string& bytes) const {
  REQUIRE(::write(in.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::string Program::read(std::size_t size) const {
  std::string text(size, '\0');
  std::size_t at = 0;
  while (at < size) {
    const ssize_t n = ::read(out.get(), text.data() + at, size - at);
    REQUIRE(n > 0);
    at += static_cast<std::size_t>(n);
  }
  return text;
}

std::string Program::wait_for_error(const std::string& text) {
  std::array<char, 4096> chunk{};
  while (errors_.find(text) == std::string::npos) {
    const ssize_t n = ::read(err.get(), chunk.data(), chunk.size());
    INFO("stderr so far: " << errors_);
    REQUIRE(n > 0);
    errors_.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return errors_;
}

void Program::signal(int number) const {
  REQUIRE(::kill(pid_, number) == 0);
}

int Program::wait() {
  in.reset();
  if (out) output_ += read_all(out.get());
  errors_ += read_all(err.get());
  return end_unread();
}

int Program::end_unread() {
  int status = 0;
  REQUIRE(::waitpid(pid_, &status, 0) == pid_);
  pid_ = -1;
  UNSCOPED_INFO("stderr: " << errors_);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Program::error_is_one_line() const {
  return std::count(errors_.begin(), errors_.end(), '\n') == 1 && errors_.back() == '\n' &&
         errors_.rfind("jami-connctl: ", 0) == 0;
}

}  // namespace connd::test
