// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_list.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string_view>
#include <system_error>

#include <sys/stat.h>

#include "tools/output.h"

namespace connd::tools {
namespace {

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
      return add_directory(source, name.empty() ? FilePath{} : FilePath{name});
    }
    add_file(source, {name}, there ? static_cast<std::uint64_t>(what.st_size) : 0, true);
  }
  FileList take() { return std::move(list_); }

 private:
  void skip(const std::string& source, std::string why) { list_.skipped.push_back({source, std::move(why)}); }

  void add_file(const std::string& source, FilePath path, std::uint64_t size, bool follow) {
    if (std::string problem = path_problem(path); !problem.empty()) return skip(source, std::move(problem));
    if (list_.files.size() == kMaxFiles) {
      list_.usage_error = "more than 1,000,000 files: send them in parts";
      return;
    }
    if (!names_.insert(file_uri(path)).second) {
      list_.usage_error = "two of the files would have the name " + path_text(path) + ": send them one after the other";
    }
    list_.files.push_back({source, std::move(path), size, follow});
  }

  void add_directory(const std::string& source, const FilePath& path) {
    // Also what keeps a file system that is its own child from being walked for ever.
    if (path.size() == kMaxSegments) return skip(source, "it lies too deep");
    const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(source.c_str()));
    if (!directory) return skip(source, "cannot read it: " + std::system_category().message(errno));
    std::vector<std::string> names;
    for (const dirent* entry = nullptr; (entry = ::readdir(directory.get())) != nullptr;) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
      if (list_.usage_error.empty()) add_entry(source + (source.ends_with('/') ? "" : "/") + name, path, name);
    }
  }

  void add_entry(const std::string& source, FilePath path, const std::string& name) {
    path.push_back(name);
    struct stat what {};
    if (::lstat(source.c_str(), &what) != 0) return skip(source, std::system_category().message(errno));
    if (S_ISDIR(what.st_mode)) return add_directory(source, path);
    if (S_ISLNK(what.st_mode)) return skip(source, "it is a symbolic link: name it, and it is followed");
    if (!S_ISREG(what.st_mode)) return skip(source, "it is not a regular file");
    add_file(source, std::move(path), static_cast<std::uint64_t>(what.st_size), false);
  }

  bool recursive_;
  FileList list_;
  std::set<std::string> names_;
};

}  // namespace

FileList list_files(const std::vector<std::string>& arguments, bool recursive) {
  Lister lister(recursive);
  for (const auto& argument : arguments) lister.add_argument(argument);
  return lister.take();
}

}  // namespace connd::tools
