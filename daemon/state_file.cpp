// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <sys/stat.h>

#include "ipc/fd.h"

namespace connd::daemon {
namespace {

std::error_code last_error() {
  return {errno, std::system_category()};
}

proto::Result<void> write_all(int fd, proto::Bytes content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_error();
    content = content.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

// A renamed file survives a crash only when its directory was synced too.
proto::Result<void> sync_directory(const std::filesystem::path& directory) {
  const ipc::Fd fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return last_error();
  return {};
}

proto::Result<void> write_synced(const std::filesystem::path& path, proto::Bytes content) {
  const ipc::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return last_error();
  if (auto written = write_all(fd.get(), content); !written) return written;
  if (::fsync(fd.get()) != 0) return last_error();
  return {};
}

}  // namespace

proto::Result<proto::ByteVector> read_state_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return last_error();
  proto::ByteVector content(max_bytes + 1);  // one more shows that the file is too long, whatever stat says
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + size, content.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_error();
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > max_bytes) return std::make_error_code(std::errc::file_too_large);
  content.resize(size);
  return content;
}

proto::Result<void> write_state_file(const std::filesystem::path& path, proto::Bytes content) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  auto result = write_synced(temporary, content);
  if (result && std::rename(temporary.c_str(), path.c_str()) != 0) result = last_error();
  if (!result) {
    ::unlink(temporary.c_str());
    return result;
  }
  return sync_directory(path.parent_path());
}

}  // namespace connd::daemon
