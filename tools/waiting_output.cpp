// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/waiting_output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <utility>

namespace connd::tools {

WaitingOutput::WaitingOutput(int signal_fd)
    : signal_fd_(signal_fd), output_{this, STDOUT_FILENO}, error_{this, STDERR_FILENO} {
  open(output_, stdout, ::isatty(STDOUT_FILENO) != 0 ? _IOLBF : _IOFBF);
  open(error_, stderr, _IONBF);
}

WaitingOutput::~WaitingOutput() {
  close(output_, stdout);
  close(error_, stderr);
}

/// In glibc the standard streams are variables (its manual, "Standard Streams").
void WaitingOutput::open(Stream& stream, std::FILE*& standard, int mode) {
  std::fflush(standard);
  stream.ours = ::fopencookie(&stream, "w", {.read = nullptr, .write = &write, .seek = nullptr, .close = nullptr});
  if (stream.ours == nullptr) return;
  std::setvbuf(stream.ours, nullptr, mode, 0);
  stream.former = std::exchange(standard, stream.ours);
}

void WaitingOutput::close(Stream& stream, std::FILE*& standard) {
  if (stream.ours == nullptr) return;
  standard = stream.former;
  std::fclose(stream.ours);
}

void WaitingOutput::ending() {
  if (std::exchange(ending_, true)) return;
  last_ = std::chrono::steady_clock::now() + kLastWait;
}

/// As fopencookie(3) wants it: 0 is an error, and errno tells which.
ssize_t WaitingOutput::write(void* cookie, const char* data, std::size_t size) {
  auto& stream = *static_cast<Stream*>(cookie);
  std::size_t done = 0;
  while (done < size) {
    if (!stream.owner->wait_for(stream.fd)) {
      errno = EINTR;
      break;
    }
    // A pipe that is writable takes this much without waiting.
    const ssize_t n = ::write(stream.fd, data + done, std::min<std::size_t>(size - done, PIPE_BUF));
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno != EINTR && errno != EAGAIN) {
      stream.gone = errno == EPIPE;
      break;
    }
  }
  return static_cast<ssize_t>(done);
}

/// False: it is not to be written any more.
bool WaitingOutput::wait_for(int fd) {
  for (;;) {
    int timeout_ms = -1;
    if (ending_) {
      const auto left = last_ - std::chrono::steady_clock::now();
      timeout_ms =
          static_cast<int>(std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(left).count()));
    }
    std::array<pollfd, 2> fds = {{{fd, POLLOUT, 0}, {ending_ ? -1 : signal_fd_, POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0 || fds[0].revents != 0) return true;  // write(2) tells what is wrong
    return false;
  }
}

}  // namespace connd::tools
