// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/atomic_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <sys/stat.h>

#include "ipc/fd.h"

namespace connd::daemon {
namespace {

// Then six characters that mkostemp chooses.
constexpr const char* kTemporarySuffix = ".tmp-";
constexpr std::size_t kRandomCharacters = 6;

// 0, or errno.
int write_all(int fd, proto::Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

// 0, or errno. close() reports what network file systems find out late, hence it counts.
int fill(ipc::Fd fd, proto::Bytes bytes, mode_t mode, Durability durability) {
  if (::fchmod(fd.get(), mode) != 0) return errno;
  if (const int error = write_all(fd.get(), bytes)) return error;
  if (durability == Durability::kOnDisk && ::fsync(fd.get()) != 0) return errno;
  return ::close(fd.release()) != 0 ? errno : 0;
}

bool is_temporary(const std::string& name) {
  const std::size_t at = name.rfind(kTemporarySuffix);
  return at != std::string::npos &&
         name.size() - at == std::char_traits<char>::length(kTemporarySuffix) + kRandomCharacters;
}

}  // namespace

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Outcome<void> sync_directory(const std::string& path) {
  const ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return system_failure(errno, path, "the directory cannot be written to disk");
  return {};
}

Outcome<void> write_atomically(const std::string& path, proto::Bytes bytes, mode_t mode, Durability durability) {
  std::string temporary = path + kTemporarySuffix + std::string(kRandomCharacters, 'X');
  ipc::Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return system_failure(errno, path, "cannot be written");
  int error = fill(std::move(fd), bytes, mode, durability);
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    return system_failure(error, path, "cannot be written");
  }
  if (durability == Durability::kCached) return {};
  return sync_directory(directory_of(path));
}

Outcome<std::optional<proto::ByteVector>> read_bounded(const std::string& path, std::size_t max_bytes) {
  // O_NONBLOCK: a FIFO of that name must not hang the daemon; it has no effect on regular files.
  const ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return std::optional<proto::ByteVector>{};
  if (!fd) return system_failure(errno, path, "cannot be read");
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_failure(errno, path, "cannot be read");
  if (!S_ISREG(info.st_mode)) return system_failure(EINVAL, path, "is not a regular file");

  proto::ByteVector bytes(static_cast<std::size_t>(info.st_size) < max_bytes ? static_cast<std::size_t>(info.st_size)
                                                                             : max_bytes);
  bytes.resize(bytes.size() + 1);  // one more shows whether there is more
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = ::read(fd.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure(errno, path, "cannot be read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
    if (size == bytes.size() && size <= max_bytes) bytes.resize(max_bytes + 1);  // it has grown since fstat
  }
  if (size > max_bytes) {
    return failure(std::errc::file_too_large, path + ": is longer than " + std::to_string(max_bytes) + " bytes");
  }
  bytes.resize(size);
  return std::optional(std::move(bytes));
}

void remove_leftovers(const std::string& directory) {
  std::error_code error;
  std::filesystem::directory_iterator at(directory, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    if (is_temporary(at->path().filename().string())) ::unlink(at->path().c_str());
  }
}

}  // namespace connd::daemon
