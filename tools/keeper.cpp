// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <system_error>

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tools/process_tree.h"
#include "tools/spawn.h"

namespace connd::tools {
namespace {

using Clock = std::chrono::steady_clock;
/// How often those that were killed and are not gone are killed again: it may take a while, or be a fork bomb.
constexpr std::chrono::milliseconds kKillPace{100};

/// From the keeper: what start() waits for, and then the program's end.
struct Word {
  enum class What : int { kStarted, kFailed, kEnded } what;
  int value;  ///< errno, or a status
};

std::error_code system_error(int error) {
  return {error, std::system_category()};
}

/// The keeper's own life, in a process of its own.
class Life {
 public:
  Life(int socket, pid_t program, std::chrono::milliseconds grace)
      : socket_(socket), program_(program), grace_(grace), children_(child_signals()) {}

  void run() {
    while (reap()) {
      act();
      wait();
    }
  }

 private:
  enum class Stage { kRunning, kLeft, kTold, kKilled };

  static ipc::Fd child_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return ipc::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  /// False when there is nobody left.
  bool reap() {
    while (true) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid < 0 && errno != EINTR) return false;
      if (pid == 0) return true;
      if (pid != program_) continue;
      const Word word{Word::What::kEnded, status};
      static_cast<void>(::send(socket_, &word, sizeof word, MSG_NOSIGNAL | MSG_DONTWAIT));
    }
  }

  void act() {
    const auto now = Clock::now();
    if (now < next_) return;
    switch (stage_) {
      case Stage::kRunning:
        return;
      case Stage::kLeft:
        return tell();
      case Stage::kTold:
      case Stage::kKilled:
        stage_ = Stage::kKilled;
        signal_descendants(SIGKILL);
        next_ = now + kKillPace;
    }
  }

  void tell() {
    stage_ = Stage::kTold;
    next_ = Clock::now() + grace_;
    signal_descendants(SIGHUP);
    signal_descendants(SIGCONT);  // one that is stopped hears nothing
  }

  void wait() {
    pollfd fds[] = {{socket_, POLLIN, 0}, {children_.get(), POLLIN, 0}};
    if (stage_ != Stage::kRunning) fds[0].fd = -1;
    int timeout = -1;
    if (next_ != Clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - Clock::now()).count();
      timeout = static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX));
    }
    ::poll(fds, 2, timeout);
    signalfd_siginfo info{};
    while (::read(children_.get(), &info, sizeof info) > 0) {
    }
    if (fds[0].revents != 0) hear();
  }

  void hear() {
    char word = 0;
    const ssize_t n = ::recv(socket_, &word, 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n != 1 || word != static_cast<char>(Keeper::End::kClean)) return tell();
    stage_ = Stage::kLeft;
    next_ = Clock::now() + grace_;
  }

  const int socket_;
  const pid_t program_;
  const std::chrono::milliseconds grace_;
  const ipc::Fd children_;
  Stage stage_ = Stage::kRunning;
  Clock::time_point next_ = Clock::time_point::max();
};

/// Nothing of the process that this one was: a channel whose last fd closes has ended, a pipe without writers too.
int keep_nothing_but(int socket) {
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  const int kept = ::dup2(socket, STDERR_FILENO + 1);
  ::syscall(SYS_close_range, static_cast<unsigned>(STDERR_FILENO + 2), ~0U, 0U);
  return kept;
}

[[noreturn]] void keep(int socket, const std::vector<std::string>& command, int fd,
                       const std::vector<std::pair<std::string, std::string>>& variables,
                       std::chrono::milliseconds grace) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);  // a terminal's ^C is for whoever started us
  ::prctl(PR_SET_NAME, "connctl-keeper");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const auto program = spawn(command, fd, variables);
  const Word word = program ? Word{Word::What::kStarted, 0} : Word{Word::What::kFailed, program.error().value()};
  static_cast<void>(::send(socket, &word, sizeof word, MSG_NOSIGNAL));
  if (program) Life(keep_nothing_but(socket), *program, grace).run();
  ::_exit(0);
}

}  // namespace

proto::Result<Keeper> Keeper::start(const std::vector<std::string>& command, int fd,
                                    const std::vector<std::pair<std::string, std::string>>& variables,
                                    std::chrono::milliseconds grace) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return system_error(errno);
  ipc::Fd ours(pair[0]);
  ipc::Fd theirs(pair[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return system_error(errno);
  if (pid == 0) {
    ours.reset();
    keep(theirs.release(), command, fd, variables, grace);
  }
  theirs.reset();
  Word word{};
  ssize_t n = 0;
  do {
    n = ::recv(ours.get(), &word, sizeof word, 0);  // as long as exec takes
  } while (n < 0 && errno == EINTR);
  if (n == sizeof word && word.what == Word::What::kStarted) return Keeper(std::move(ours), pid);
  ::waitpid(pid, nullptr, 0);
  return system_error(n == sizeof word ? word.value : ECHILD);
}

void Keeper::update() {
  // First, for the keeper's last word comes before its end: one found gone has said all that it will.
  if (!gone_) gone_ = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
  Word word{};
  while (socket_) {
    const ssize_t n = ::recv(socket_.get(), &word, sizeof word, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n != sizeof word) {
      socket_.reset();  // its end: waitpid tells when it is complete
    } else if (word.what == Word::What::kEnded) {
      status_ = word.value;
    }
  }
  // Somebody killed the keeper, and what became of the program nobody knows: not a success.
  if (gone_ && !status_) status_ = SIGKILL;
}

void Keeper::over(End end) {
  if (told_ || !socket_) return;
  told_ = true;
  const char word = static_cast<char>(end);
  static_cast<void>(::send(socket_.get(), &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT));
}

}  // namespace connd::tools
