// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/commit_pool.h"

#include <unistd.h>

#include <utility>

#include <sys/eventfd.h>

namespace connd::tools {

CommitPool::CommitPool(const ReceiveDir& directory)
    : directory_(directory), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (std::size_t i = 0; i < kCommitThreads; ++i) threads_.emplace_back([this] { run(); });
}

void CommitPool::add(std::uint64_t number, std::unique_ptr<NewFile> file) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({number, std::move(file)});
  }
  more_.notify_one();
}

void CommitPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  more_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  waiting_.clear();
}

std::vector<CommitPool::Result> CommitPool::take_results() {
  std::uint64_t count = 0;
  static_cast<void>(!::read(wake_.get(), &count, sizeof count));
  const std::lock_guard lock(mutex_);
  return std::exchange(results_, {});
}

void CommitPool::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    more_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    MaybeProblem problem = directory_.commit(*job.file);
    job.file.reset();  // a file that failed is removed before anybody hears of it
    lock.lock();
    results_.push_back({job.number, std::move(problem)});
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  }
}

}  // namespace connd::tools
