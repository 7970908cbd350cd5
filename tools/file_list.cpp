// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_list.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <system_error>

#include <sys/stat.h>

#include "tools/directory.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

// A FIFO must not make us wait for its writer before we see that it is one.
constexpr int kFileFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

/// A directory that was named: what it is named by may have links in it.
ipc::Fd open_top(const std::string& path) {
  return ipc::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

ipc::Outcome<ipc::Fd> opened(int fd) {
  if (fd < 0) return ipc::make_error(ipc::Reason::kInternal, std::system_category().message(errno));
  return ipc::Fd(fd);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

/// The last part of a path; empty for `/`, `.` and `..`.
std::string base_name(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::string name(path.substr(path.rfind('/') + 1));
  return name == "." || name == ".." ? "" : name;
}

class Lister {
 public:
  explicit Lister(bool recursive) : recursive_(recursive) {}

  void add_argument(const std::string& source) {
    const std::string name = base_name(source);
    struct stat what {};
    const bool there = ::stat(source.c_str(), &what) == 0;
    if (there && S_ISDIR(what.st_mode)) {
      if (!recursive_) return skip(source, "it is a directory: -r sends what is in it");
      return add_tree(source, name.empty() ? FilePath{} : FilePath{name});
    }
    add_file(source, {source, {name}, there ? static_cast<std::uint64_t>(what.st_size) : 0});
  }
  FileList take() { return std::move(list_); }

 private:
  void skip(const std::string& source, std::string why) { list_.skipped.push_back({source, std::move(why)}); }

  void skip_errno(const std::string& source) {
    skip(source, "cannot read it: " + std::system_category().message(errno));
  }

  /// `source` is for messages.
  void add_file(const std::string& source, ListedFile file) {
    const FilePath& path = file.path;
    if (std::string problem = path_problem(path); !problem.empty()) return skip(source, std::move(problem));
    if (list_.files.size() == kMaxFiles) {
      list_.usage_error = "more than 1,000,000 files: send them in parts";
      return;
    }
    if (!names_.insert(file_uri(path)).second) {
      list_.usage_error = "two of the files would have the name " + path_text(path) + ": send them one after the other";
    }
    list_.files.push_back(std::move(file));
  }

  void add_tree(const std::string& source, const FilePath& path) {
    ipc::Fd top = open_top(source);
    struct stat what {};
    if (!top || ::fstat(top.get(), &what) != 0) return skip_errno(source);
    argument_ = source;
    tree_ = {nullptr, what.st_dev, what.st_ino, path.size()};
    if (trees_kept_ < kMaxKeptTrees) {
      ++trees_kept_;
      tree_.kept = std::make_shared<const ipc::Fd>(open_directory(top.get(), "."));
      if (!*tree_.kept) return skip_errno(source);
    }
    add_directory(std::move(top), source, path);
  }

  /// `source` is for messages. Keeps one descriptor open for each level, as many as a name has parts.
  void add_directory(ipc::Fd fd, const std::string& source, const FilePath& path) {
    // Also what keeps a file system that is its own child from being walked for ever.
    if (path.size() == kMaxSegments) return skip(source, "it lies too deep");
    const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(fd.get()));
    if (!directory) return skip_errno(source);
    const int at = fd.release();
    std::vector<std::string> names;
    for (const dirent* entry = nullptr; (entry = ::readdir(directory.get())) != nullptr;) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
      if (list_.usage_error.empty()) add_entry(at, source + (source.ends_with('/') ? "" : "/") + name, path, name);
    }
  }

  void add_entry(int at, const std::string& source, FilePath path, const std::string& name) {
    path.push_back(name);
    struct stat what {};
    if (::fstatat(at, name.c_str(), &what, AT_SYMLINK_NOFOLLOW) != 0) return skip_errno(source);
    if (S_ISDIR(what.st_mode)) {
      ipc::Fd directory = open_directory(at, name.c_str());
      return directory ? add_directory(std::move(directory), source, path) : skip_errno(source);
    }
    if (S_ISLNK(what.st_mode)) return skip(source, "it is a symbolic link: name it, and it is followed");
    if (!S_ISREG(what.st_mode)) return skip(source, "it is not a regular file");
    add_file(source, {argument_, std::move(path), static_cast<std::uint64_t>(what.st_size), tree_});
  }

  bool recursive_;
  std::string argument_;  // the directory that is being listed, and what it is
  ListedTree tree_;
  std::size_t trees_kept_ = 0;
  FileList list_;
  std::set<std::string> names_;
};

}  // namespace

FileList list_files(const std::vector<std::string>& arguments, bool recursive) {
  Lister lister(recursive);
  for (const auto& argument : arguments) lister.add_argument(argument);
  return lister.take();
}

ipc::Outcome<ipc::Fd> open_listed(const ListedFile& file) {
  if (!file.tree) return opened(::open(file.source.c_str(), kFileFlags));
  const ListedTree& tree = *file.tree;
  ipc::Fd top = tree.kept ? open_directory(tree.kept->get(), ".") : open_top(file.source);
  struct stat what {};
  if (!top || ::fstat(top.get(), &what) != 0) return opened(-1);
  if (what.st_dev != tree.device || what.st_ino != tree.inode) {
    return ipc::make_error(ipc::Reason::kInternal, "the directory was replaced after it was listed");
  }
  const auto below = std::span(file.path).subspan(tree.depth);
  const ipc::Fd directory = descend(std::move(top), below.first(below.size() - 1));
  return opened(directory ? ::openat(directory.get(), below.back().c_str(), kFileFlags | O_NOFOLLOW) : -1);
}

}  // namespace connd::tools
