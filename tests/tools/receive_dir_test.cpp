// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/receive_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/daemon/temp_dir.h"
#include "tools/commit_pool.h"

using namespace connd;
using namespace connd::tools;
namespace fs = std::filesystem;

namespace {

std::atomic<bool> fail_directory_sync = false;

}  // namespace

/// In place of libc's, for all of this program: a disk that fails when a directory is flushed.
extern "C" int fsync(int fd) {
  struct stat what {};
  if (fail_directory_sync && ::fstat(fd, &what) == 0 && S_ISDIR(what.st_mode)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace {

constexpr FileHeader kSmall{5, 1'600'000'000'000'000'500, 04754};

mode_t umask_now() {
  const mode_t mask = ::umask(077);
  ::umask(mask);
  return mask;
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::size_t entries(const fs::path& path) {
  return static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(path), {}));
}

struct Place {
  explicit Place(ReceiveRules rules = {})
      : root(fs::path(temp.path()) / "in"),
        outside(fs::path(temp.path()) / "out"),
        made(fs::create_directory(root) && fs::create_directory(outside)),
        directory(std::move(*ReceiveDir::open(root, rules))) {}
  /// The whole way; the problem, if there was one.
  MaybeProblem receive(const FilePath& path, const std::string& text) {
    MaybeProblem problem = directory.check(path);
    if (problem) return problem;
    const auto file = directory.create(path, {text.size(), 0, 0644}, problem);
    if (!file) return problem;
    problem = file->write(proto::as_bytes(text));
    return problem ? problem : directory.commit(*file);
  }
  test::TempDir temp;
  fs::path root;
  fs::path outside;
  bool made;
  ReceiveDir directory;
};

}  // namespace

TEST_CASE("receive dir: a file has its name only when it is committed") {
  Place place;
  MaybeProblem problem;
  const auto file = place.directory.create({"sub", "deep", "name"}, kSmall, problem);
  REQUIRE(file);
  REQUIRE_FALSE(file->write(proto::as_bytes("hello")));
  const fs::path path = place.root / "sub/deep/name";
  CHECK_FALSE(fs::exists(path));
  REQUIRE_FALSE(place.directory.commit(*file));
  CHECK(content(path) == "hello");
  CHECK(entries(place.root) == 3);  // two directories and the file: no hidden name is left
  struct stat what {};
  REQUIRE(::stat(path.c_str(), &what) == 0);
  CHECK((what.st_mode & 07000) == 0);  // no set-uid
  CHECK((what.st_mode & 0777) == (0754 & ~0111 & ~umask_now()));
  CHECK(what.st_mtim.tv_sec == 1'600'000'000);
  CHECK(what.st_mtim.tv_nsec == 500);
}

TEST_CASE("receive dir: a file that is not committed leaves nothing") {
  Place place;
  MaybeProblem problem;
  auto file = place.directory.create({"name"}, kSmall, problem);
  REQUIRE_FALSE(file->write(proto::as_bytes("hel")));
  CHECK(entries(place.root) == 1);
  file.reset();
  CHECK(entries(place.root) == 0);
}

TEST_CASE("fault H: directories are made when a file is whole, and go again with one that fails") {
  Place place;
  MaybeProblem problem;
  auto file = place.directory.create({"a", "b", "name"}, kSmall, problem);
  REQUIRE(file);
  CHECK_FALSE(fs::exists(place.root / "a"));
  file.reset();  // it never came to its end
  CHECK(entries(place.root) == 0);

  // Its directories are not on the disk, so it is not either.
  fail_directory_sync = true;
  CHECK(place.receive({"a", "b", "name"}, "x"));
  fail_directory_sync = false;
  CHECK(entries(place.root) == 0);

  // A file's way is a file by now: what was made of the way before that goes.
  auto late = place.directory.create({"a", "b", "name"}, kSmall, problem);
  fs::create_directory(place.root / "a");
  std::ofstream(place.root / "a/b") << "mine";
  CHECK(place.directory.commit(*late));
  late.reset();
  CHECK(entries(place.root) == 2);

  // One that another file is in stays.
  const auto first = place.directory.create({"c", "first"}, kSmall, problem);
  const auto second = place.directory.create({"c", "second"}, kSmall, problem);
  REQUIRE_FALSE(place.directory.commit(*first));
  fail_directory_sync = true;
  CHECK(place.directory.commit(*second));
  fail_directory_sync = false;
  CHECK(fs::exists(place.root / "c/first"));
  CHECK_FALSE(fs::exists(place.root / "c/second"));
}

TEST_CASE("fault H: a header takes no room on the disk, content does as it comes") {
  Place place;
  MaybeProblem problem;
  const auto file = place.directory.create({"name"}, {8 << 20, 0, 0644}, problem);
  REQUIRE(file);
  struct stat what {};
  const fs::path hidden = fs::directory_iterator(place.root)->path();
  REQUIRE(::stat(hidden.c_str(), &what) == 0);
  CHECK(what.st_blocks == 0);
  CHECK(what.st_size == 0);
}

TEST_CASE("fault H: what comes is not to be executed, unless that is asked for") {
  Place place;
  Place asked({.executables = true});
  for (Place* one : {&place, &asked}) {
    MaybeProblem problem;
    const auto file = one->directory.create({"name"}, {0, 0, 0755}, problem);
    REQUIRE(file);
    REQUIRE_FALSE(one->directory.commit(*file));
    struct stat what {};
    REQUIRE(::stat((one->root / "name").c_str(), &what) == 0);
    CHECK((what.st_mode & 07777) == ((one == &asked ? 0755U : 0644U) & ~umask_now()));
  }
}

TEST_CASE("fault E5: a directory that was removed, replaced or moved away is gone") {
  Place place;
  CHECK_FALSE(place.directory.gone());
  SECTION("moved") {
    fs::rename(place.root, place.outside / "moved");
  }
  SECTION("removed") {
    fs::remove(place.root);
  }
  SECTION("replaced") {
    fs::remove(place.root);
    fs::create_directory(place.root);
  }
  CHECK(place.directory.gone());
}

TEST_CASE("receive dir: what exists is kept, unless forced") {
  Place place;
  REQUIRE_FALSE(place.receive({"name"}, "old"));
  CHECK(place.receive({"name"}, "new")->code == FileCode::kExists);
  CHECK(content(place.root / "name") == "old");
  // Also one that came into being after it was looked for.
  MaybeProblem problem;
  const auto file = place.directory.create({"name"}, kSmall, problem);
  CHECK(place.directory.commit(*file)->code == FileCode::kExists);
  CHECK(content(place.root / "name") == "old");

  Place forced({.force = true});
  REQUIRE_FALSE(forced.receive({"name"}, "old"));
  REQUIRE_FALSE(forced.receive({"name"}, "new"));
  CHECK(content(forced.root / "name") == "new");
  CHECK(entries(forced.root) == 1);
}

TEST_CASE("receive dir: a name that does not reach the disk is taken back") {
  Place place;
  fail_directory_sync = true;
  const MaybeProblem problem = place.receive({"name"}, "x");
  fail_directory_sync = false;
  REQUIRE(problem);
  CHECK(problem->code == FileCode::kFailed);
  CHECK(entries(place.root) == 0);

  // What it has replaced is gone; better the new file than none.
  Place forced({.force = true});
  REQUIRE_FALSE(forced.receive({"name"}, "old"));
  fail_directory_sync = true;
  CHECK(forced.receive({"name"}, "new"));
  CHECK(forced.receive({"other"}, "new"));
  fail_directory_sync = false;
  CHECK(entries(forced.root) == 1);
  CHECK(content(forced.root / "name") == "new");
}

TEST_CASE("receive dir: a directory is never replaced, a file is no directory") {
  for (const bool force : {false, true}) {
    Place place({.force = force});
    fs::create_directory(place.root / "dir");
    CHECK(place.receive({"dir"}, "x")->code == FileCode::kExists);
    REQUIRE_FALSE(place.receive({"file"}, "x"));
    CHECK(place.receive({"file", "below"}, "x")->code == FileCode::kFailed);
  }
}

TEST_CASE("receive dir: no symbolic link leads out of it") {
  Place place({.force = true});
  fs::create_directory_symlink(place.outside, place.root / "link");
  std::ofstream(place.outside / "victim") << "mine";
  fs::create_symlink(place.outside / "victim", place.root / "file");
  CHECK(place.receive({"link", "name"}, "x")->code == FileCode::kFailed);
  CHECK(entries(place.outside) == 1);
  // A link of the file's own name is itself replaced, when forced; what it led to is not touched.
  REQUIRE_FALSE(place.receive({"file"}, "new"));
  CHECK(content(place.outside / "victim") == "mine");
  CHECK(fs::is_regular_file(fs::symlink_status(place.root / "file")));
  Place kept;
  fs::create_symlink("nowhere", kept.root / "file");
  CHECK(kept.receive({"file"}, "x")->code == FileCode::kExists);
}

TEST_CASE("receive dir: a file that is too large for any disk is refused before it comes") {
  Place place;
  MaybeProblem problem;
  CHECK_FALSE(place.directory.create({"name"}, {kMaxFileBytes, 0, 0644}, problem));
  REQUIRE(problem);
  CHECK(problem->code == FileCode::kNoSpace);
  CHECK(entries(place.root) == 0);
}

TEST_CASE("receive dir: a full disk is told, and nothing is left on it") {
  const test::TempDir small;
  // 64 KiB: one file does not fit while it is written, the other is refused before.
  const auto checked = test::on_small_disk(small.path(), [&small] {
    const auto directory = ReceiveDir::open(small.path(), {});
    const std::string much(100'000, 'x');
    MaybeProblem problem;
    auto file = directory->create({"name"}, {much.size(), 0, 0644}, problem);
    const MaybeProblem written = file->write(proto::as_bytes(much));
    file.reset();
    const auto large = directory->create({"large"}, {2'000'000, 0, 0644}, problem);
    return written && written->code == FileCode::kNoSpace && !large && problem && problem->code == FileCode::kNoSpace &&
           fs::is_empty(small.path());
  });
  if (checked == test::InNamespace::kNotPossible) {
    WARN("no mount namespace here: not tried");
    return;
  }
  CHECK(checked == test::InNamespace::kTrue);
}

TEST_CASE("receive dir: a directory that is not there, or is none") {
  Place place;
  CHECK_FALSE(ReceiveDir::open(place.root / "nowhere", {}));
  CHECK_FALSE(ReceiveDir::open("/dev/null", {}));
}

TEST_CASE("commit pool: each file gets its own answer; what waits at the end is removed") {
  Place place;
  REQUIRE_FALSE(place.receive({"7"}, "taken"));
  CommitPool pool(place.directory);
  constexpr std::uint64_t kCount = 50;
  for (std::uint64_t n = 0; n < kCount; ++n) {
    MaybeProblem problem;
    auto file = place.directory.create({std::to_string(n)}, kSmall, problem);
    REQUIRE(file);
    REQUIRE_FALSE(file->write(proto::as_bytes("hello")));
    pool.add(n, std::move(file));
  }
  std::vector<bool> told(kCount);
  for (std::size_t count = 0; count < kCount;) {
    for (const auto& result : pool.take_results()) {
      CHECK_FALSE(told.at(result.number));
      told.at(result.number) = true;
      CHECK(result.problem.has_value() == (result.number == 7));
      ++count;
    }
  }
  CHECK(entries(place.root) == kCount);
  pool.stop();
  MaybeProblem problem;
  pool.add(99, place.directory.create({"late"}, kSmall, problem));
  pool.stop();
  CHECK(entries(place.root) == kCount);
}
