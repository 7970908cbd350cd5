// SPDX-License-Identifier: GPL-3.0-or-later
/// A library to preload: the calendar's clock is off by the seconds that the file $CLOCK_SHIFT holds (eight bytes, as
/// they are in memory), from the moment they are written. Clocks that only count (CLOCK_MONOTONIC, CLOCK_BOOTTIME) are
/// left alone, as they are when somebody sets the date.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

namespace {

std::int64_t shift() {
  static const volatile std::int64_t* const shared = [] {
    static std::int64_t none = 0;
    const char* path = std::getenv("CLOCK_SHIFT");
    const int fd = path != nullptr ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* at = fd >= 0 ? ::mmap(nullptr, sizeof none, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0) ::close(fd);
    return at == MAP_FAILED ? &none : static_cast<const std::int64_t*>(at);
  }();
  return *shared;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += shift();
  return result;
}

std::time_t time(std::time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* out, void* /*zone*/) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
}
