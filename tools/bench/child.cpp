// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/child.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tools/bench/board.h"

namespace connd::bench {
namespace {

constexpr double kTerminateSeconds = 10;

/// The number behind `key` in a file of lines "key: number kB"; bytes.
double kilobytes_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) == 0) return std::stod(line.substr(key.size())) * 1024;
  }
  throw Failure(path + " has no " + key);
}

/// In the child: dies with its parent, and has ordinary signals.
void settle_in_child(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
}

/// With one processor there is nothing to share out.
void move_to(Side side) {
  cpu_set_t all;
  if (::sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) return;
  const int half = CPU_COUNT(&all) / 2;
  cpu_set_t ours;
  CPU_ZERO(&ours);
  int seen = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    if ((seen++ < half) == (side == Side::kCaller)) CPU_SET(cpu, &ours);
  }
  if (::sched_setaffinity(0, sizeof ours, &ours) != 0) fail_with_errno("sched_setaffinity");
}

}  // namespace

void fail_with_errno(const std::string& what) {
  throw Failure(what + ": " + std::strerror(errno));
}

void BoardUnmapper::operator()(Board* board) const {
  ::munmap(board, sizeof *board);
}

BoardPtr make_board() {
  void* memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_with_errno("shared memory");
  return BoardPtr(new (memory) Board());
}

Child Child::fork(Side side, const std::function<void()>& body) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) fail_with_errno("fork");
  if (pid > 0) return Child(pid);
  settle_in_child(parent);
  try {
    move_to(side);
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

Child Child::exec(Side side, const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  return fork(side, [&] {
    const int in = ::open("/dev/null", O_RDONLY);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in < 0 || out < 0) fail_with_errno(log);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execv(arguments[0], arguments.data());
    fail_with_errno(command[0]);
  });
}

bool Child::wait(bool block) {
  if (pid_ < 0) return true;
  pid_t done;
  do {
    done = ::waitpid(pid_, nullptr, block ? 0 : WNOHANG);
  } while (done < 0 && errno == EINTR);
  if (done == 0) return false;
  pid_ = -1;
  return true;
}

bool Child::running() const {
  siginfo_t info{};
  return pid_ > 0 && ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

void Child::terminate() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  const double deadline = now_seconds() + kTerminateSeconds;
  while (!wait(false)) {
    if (now_seconds() > deadline) return kill();
    sleep_seconds(0.01);
  }
}

void Child::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  wait(true);
}

double Child::cpu_seconds() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    throw Failure("a process of the bench has ended by itself");
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double Child::rss_bytes() const {
  return kilobytes_of("/proc/" + std::to_string(pid_) + "/status", "VmRSS:");
}

double kernel_bytes() {
  return kilobytes_of("/proc/meminfo", "SUnreclaim:");
}

double now_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void sleep_seconds(double seconds) {
  timespec time{};
  time.tv_sec = static_cast<time_t>(seconds);
  time.tv_nsec = static_cast<long>((seconds - static_cast<double>(time.tv_sec)) * 1e9);
  while (::nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

}  // namespace connd::bench
