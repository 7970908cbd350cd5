// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/request_opener.h"

#include <algorithm>
#include <ctime>
#include <random>

namespace connd::daemon {
namespace {

/// What the calling thread has had of the processor.
std::chrono::nanoseconds thread_cpu_time() {
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

SealedQueue<SealedRequest>::Pick random_pick() {
  return [random = std::mt19937_64(std::random_device{}())](std::size_t below) mutable {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
  };
}

}  // namespace

/// On its way through the pool.
struct RequestOpener::Job {
  std::shared_ptr<dht::crypto::PrivateKey> key;
  SealedRequest sealed;
  std::optional<SignalMessage> request{};
  std::chrono::nanoseconds cost{};
};

RequestOpener::RequestOpener(Loop& loop, std::shared_ptr<dht::crypto::PrivateKey> key, const Budget& budget,
                             Opened opened)
    : loop_(loop),
      key_(std::move(key)),
      budget_(budget),
      opened_(std::move(opened)),
      waiting_(budget.max_waiting, random_pick()),
      pause_(loop, [this] {
        busy_ = false;
        open_next();
      }) {}

bool RequestOpener::add(SealedRequest sealed) {
  const bool room = waiting_.push(std::move(sealed));
  open_next();
  return room;
}

void RequestOpener::stop() {
  stopped_ = true;
  waiting_.clear();
  pause_.stop();
}

// One at a time, so that strangers who send requests for nothing have one thread of the pool busy and not all.
void RequestOpener::open_next() {
  if (busy_ || stopped_) return;
  auto sealed = waiting_.pop();
  if (!sealed) return;
  busy_ = true;
  auto job = std::make_shared<Job>(Job{key_, std::move(*sealed)});
  loop_.post_work(
      [job] {
        const auto before = thread_cpu_time();
        job->request = open_request(std::move(job->sealed), *job->key);
        job->cost = thread_cpu_time() - before;
      },
      [this, job, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) on_opened(*job);
      });
}

void RequestOpener::on_opened(const Job& job) {
  if (stopped_) return;
  paid_at_ = std::max(paid_at_, loop_.now()) + std::chrono::ceil<proto::Duration>(budget_.share * job.cost);
  pause_.arm(paid_at_ - budget_.credit);
  const auto call = opened_;  // a copy: it may destroy us
  call(job.request);
}

}  // namespace connd::daemon
