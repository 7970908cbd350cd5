// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/receive_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <span>
#include <system_error>
#include <utility>

#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "tools/directory.h"

namespace connd::tools {
namespace {

// A smaller file is written as it comes: asking for its room would cost more than it saves.
constexpr std::uint64_t kAskFrom = std::uint64_t{1} << 20;
// What is written goes to the disk in such steps, so that the flush at the end does not have to wait for all of it.
constexpr std::uint64_t kFlushStep = std::uint64_t{8} << 20;
// Random hidden names that are taken, one after the other: there is something wrong.
constexpr int kNameAttempts = 16;

FileProblem problem_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return {FileCode::kNoSpace, "the receiver's disk is full", "the disk is full"};
    case EFBIG:
      return {FileCode::kNoSpace, "the file is too large for the receiver's disk",
              "the file is too large for the disk"};
    case EEXIST:
      return {FileCode::kExists, "the receiver has a file of this name, and keeps it",
              "there is a file of this name, and it is kept"};
    case EISDIR:
    case ENOTEMPTY:
      return {FileCode::kExists, "the receiver has a directory of this name", "there is a directory of this name"};
    case ELOOP:
    case ENOTDIR:
      return {FileCode::kFailed, "at the receiver a part of the name is no directory",
              "a part of the name is no directory"};
    case ENAMETOOLONG:
      return {FileCode::kBadName, "the name is too long for the receiver's file system",
              "the name is too long for the file system"};
    default:
      return {FileCode::kFailed, "the receiver cannot write the file: " + std::system_category().message(error),
              "the file cannot be written: " + std::system_category().message(error)};
  }
}

std::string hidden_name() {
  std::uint64_t number = 0;
  // A failure leaves a number that is taken at most: then the next attempt asks again.
  [[maybe_unused]] const ssize_t n = ::getrandom(&number, sizeof number, 0);
  char text[40];
  std::snprintf(text, sizeof text, ".jami-receive-%016llx", static_cast<unsigned long long>(number));
  return text;
}

mode_t current_umask() {
  const mode_t mask = ::umask(077);
  ::umask(mask);
  return mask;
}

/// Some file systems cannot sync a directory, and say EINVAL: they have nothing to sync then.
bool sync_directory(int fd) {
  return ::fsync(fd) == 0 || errno == EINVAL;
}

/// Nothing is reserved: a header of some bytes must not fill a disk.
bool has_room(int directory, std::uint64_t bytes) {
  struct statvfs disk {};
  // Some file systems do not know their size, and say 0.
  if (bytes < kAskFrom || ::fstatvfs(directory, &disk) != 0 || disk.f_blocks == 0) return true;
  return bytes / disk.f_frsize < disk.f_bfree;
}

}  // namespace

// ---- one file

NewFile::~NewFile() {
  if (!hidden_.empty()) ::unlinkat(hidden_in_.get(), hidden_.c_str(), 0);
}

MaybeProblem NewFile::make() {
  // A disk that is too small is told before the content travels.
  if (!has_room(hidden_in_.get(), header_.size)) return problem_of(ENOSPC);
  for (int attempt = 0; attempt < kNameAttempts && !fd_; ++attempt) {
    const std::string hidden = hidden_name();
    fd_.reset(::openat(hidden_in_.get(), hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd_) hidden_ = hidden;
    if (!fd_ && errno != EEXIST) return problem_of(errno);
  }
  if (!fd_)
    return FileProblem{FileCode::kFailed, "the receiver cannot write the file: it finds no name",
                       "the file cannot be written: no name for it is free"};
  return std::nullopt;
}

MaybeProblem NewFile::write(proto::Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return problem_of(errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    written_ += static_cast<std::uint64_t>(n);
  }
  if (written_ - flushed_ >= kFlushStep) {
    // Only begins it. What goes wrong there, fsync tells.
    ::sync_file_range(fd_.get(), static_cast<off_t>(flushed_), static_cast<off_t>(written_ - flushed_),
                      SYNC_FILE_RANGE_WRITE);
    flushed_ = written_;
  }
  return std::nullopt;
}

MaybeProblem NewFile::set_attributes(mode_t dropped) const {
  // What gives power to others stays behind: set-uid and the like.
  if (::fchmod(fd_.get(), (header_.mode & 0777) & ~dropped) != 0 && errno != EPERM) return problem_of(errno);
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t rest = header_.mtime_ns % kSecond;  // before 1970 it is below zero
  const bool before = rest < 0;
  const timespec mtime{header_.mtime_ns / kSecond - (before ? 1 : 0), before ? rest + kSecond : rest};
  const timespec times[2] = {{0, UTIME_OMIT}, mtime};
  // A time that this file system does not know is no reason to lose the file.
  static_cast<void>(::futimens(fd_.get(), times));
  return std::nullopt;
}

MaybeProblem NewFile::rename(bool force) {
  const int at = hidden_in_.get();
  const int to = directory_.get();
  const char* from = hidden_.c_str();
  const char* name = path_.back().c_str();
  if (::renameat2(at, from, to, name, RENAME_NOREPLACE) != 0) {
    if (force) {
      replaced_ = true;
      if (::renameat(at, from, to, name) != 0) return problem_of(errno);
    } else {
      if (errno != EINVAL) return problem_of(errno);
      // A file system that cannot rename so (NFS) can link so.
      if (::linkat(at, from, to, name, 0) != 0) return problem_of(errno);
      ::unlinkat(at, from, 0);
    }
  }
  hidden_.clear();
  return std::nullopt;
}

/// The sender hears that it is not there. A file that it has replaced would not come back, and one that has the name by
/// now is not ours.
void NewFile::take_back() const {
  struct stat ours {};
  struct stat there {};
  if (replaced_ || ::fstat(fd_.get(), &ours) != 0) return;
  const char* name = path_.back().c_str();
  if (::fstatat(directory_.get(), name, &there, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (there.st_dev == ours.st_dev && there.st_ino == ours.st_ino) ::unlinkat(directory_.get(), name, 0);
}

// ---- the directory

ipc::Outcome<ReceiveDir> ReceiveDir::open(const std::string& path, ReceiveRules rules) {
  ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return ipc::make_error(ipc::Reason::kInternal, std::system_category().message(errno));
  return ReceiveDir(std::move(fd), path, rules, current_umask());
}

bool ReceiveDir::gone() const {
  struct stat ours {};
  struct stat there {};
  if (::fstat(fd_.get(), &ours) != 0 || ours.st_nlink == 0) return true;
  if (::stat(path_.c_str(), &there) != 0) return errno == ENOENT || errno == ENOTDIR;
  return there.st_dev != ours.st_dev || there.st_ino != ours.st_ino;
}

ReceiveDir::Walk ReceiveDir::walk(const FilePath& path) const {
  Walk walk{open_directory(fd_.get(), "."), 0, std::nullopt};
  if (!walk.directory) walk.problem = problem_of(errno);
  while (!walk.problem && walk.depth + 1 < path.size()) {
    ipc::Fd next = open_directory(walk.directory.get(), path[walk.depth].c_str());
    if (!next && errno == ENOENT) break;
    if (!next) walk.problem = problem_of(errno);
    walk.directory = std::move(next);
    ++walk.depth;
  }
  return walk;
}

MaybeProblem ReceiveDir::check(const FilePath& path) const {
  const Walk walked = walk(path);
  if (walked.problem || walked.depth + 1 < path.size()) return walked.problem;
  struct stat there {};
  if (::fstatat(walked.directory.get(), path.back().c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? std::nullopt : MaybeProblem(problem_of(errno));
  }
  if (S_ISDIR(there.st_mode)) return problem_of(EISDIR);
  return rules_.force ? std::nullopt : MaybeProblem(problem_of(EEXIST));
}

std::unique_ptr<NewFile> ReceiveDir::create(const FilePath& path, const FileHeader& header,
                                            MaybeProblem& problem) const {
  Walk walked = walk(path);
  problem = std::move(walked.problem);
  if (problem) return nullptr;
  // There, not at the top: what its path leads to may be another file system, and a name cannot go from one to another.
  std::unique_ptr<NewFile> file(new NewFile(std::move(walked.directory), path, header));
  problem = file->make();
  return problem ? nullptr : std::move(file);
}

/// Makes what is missing of the way to the file; `made`: the first part of its path that was.
MaybeProblem ReceiveDir::make_way(NewFile& file, std::size_t& made) const {
  ipc::Fd at = open_directory(fd_.get(), ".");
  for (std::size_t i = 0; at && i + 1 < file.path_.size(); ++i) {
    const char* name = file.path_[i].c_str();
    if (::mkdirat(at.get(), name, 0777) == 0) {
      made = std::min(made, i);
      shared_->made = true;
    } else if (errno != EEXIST) {
      return problem_of(errno);
    }
    at = open_directory(at.get(), name);
  }
  if (!at) return problem_of(errno);
  file.directory_ = std::move(at);
  return std::nullopt;
}

/// The last one first; one that others use by now is not empty, and stays.
void ReceiveDir::unmake_way(const FilePath& path, std::size_t made) const {
  for (std::size_t i = path.size() - 1; i-- > made;) {
    const ipc::Fd at = descend(open_directory(fd_.get(), "."), std::span(path).first(i));
    if (!at || ::unlinkat(at.get(), path[i].c_str(), AT_REMOVEDIR) != 0) return;
  }
}

MaybeProblem ReceiveDir::place(NewFile& file, std::size_t& made) const {
  const std::lock_guard lock(shared_->mutex);
  MaybeProblem problem = make_way(file, made);
  if (!problem) problem = file.rename(rules_.force);
  if (problem) unmake_way(file.path_, made);
  return problem;
}

/// The file's directory; and, once we have made any, all that it lies in: another file's commit may have made them, and
/// not have them on the disk yet. One that is there already costs next to nothing.
MaybeProblem ReceiveDir::sync_way(const NewFile& file) const {
  bool made = false;
  {
    const std::lock_guard lock(shared_->mutex);
    made = shared_->made;
  }
  ipc::Fd at = open_directory(fd_.get(), ".");
  for (std::size_t i = 0; made && i + 1 < file.path_.size(); ++i) {
    if (!at || !sync_directory(at.get())) return problem_of(errno);
    at = open_directory(at.get(), file.path_[i].c_str());
  }
  return sync_directory(file.directory_.get()) ? std::nullopt : MaybeProblem(problem_of(errno));
}

MaybeProblem ReceiveDir::commit(NewFile& file) const {
  MaybeProblem problem = file.set_attributes(umask_ | (rules_.executables ? 0 : 0111));
  if (!problem && ::fsync(file.fd_.get()) != 0) problem = problem_of(errno);
  if (problem) return problem;
  std::size_t made = file.path_.size();
  problem = place(file, made);
  if (problem) return problem;
  problem = sync_way(file);
  if (!problem) return problem;
  const std::lock_guard lock(shared_->mutex);
  file.take_back();
  unmake_way(file.path_, made);
  return problem;
}

}  // namespace connd::tools
