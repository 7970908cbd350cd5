// SPDX-License-Identifier: GPL-3.0-or-later
/// Unsaved: what a store that is one file has in memory and not on the disk yet. The file is written whole; what
/// changes while it is being written goes with the next writing, however much that is. When a writing fails, what it
/// was to write is taken back, so that memory and disk agree: but for what has been changed again since, which the next
/// writing is to bring.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/trust/state_disk.h"

namespace connd::daemon {

/// Movable until it has a disk; used on one thread, the loop's.
///
/// `Owner` is the store. It has `StateDisk::Work writing() const`: the work that writes what memory has now; `void
/// put_back(const Key&, std::optional<Value>)`: makes memory say that of a key, and nothing means that it is not there;
/// and `void taken_back(const Failure&)`: that was done.
template <class Owner, class Key, class Value>
class Unsaved {
 public:
  void use(StateDisk* disk) { disk_ = disk; }

  /// Whether a change has to be refused (too_many_unsaved): ask before it is made.
  [[nodiscard]] bool full() const {
    return next_.before.size() >= kMaxUnsavedChanges || next_.waiting.size() >= kMaxUnsavedChanges;
  }

  /// Memory has changed: `key` had `before`. Failure: of the disk, where that is waited for; it is taken back then.
  Outcome<void> changed(Owner& owner, const Key& key, std::optional<Value> before) {
    next_.before.try_emplace(key, std::move(before));
    if (disk_ != nullptr) {
      start(owner);
      return {};
    }
    auto outcome = owner.writing()();
    Batch batch = std::exchange(next_, {});
    if (!outcome) take_back(owner, batch);
    return outcome;
  }

  /// Calls `done` when all that has changed by now is on the disk, or has been taken back: then with why.
  void when_stored(StateDisk::Done done) {
    if (!next_.before.empty()) {
      next_.waiting.push_back(std::move(done));
    } else if (writing_) {
      writing_->waiting.push_back(std::move(done));
    } else {
      done({});
    }
  }

 private:
  struct Batch {
    std::map<Key, std::optional<Value>> before;  ///< what the disk has, of what was changed
    std::vector<StateDisk::Done> waiting;
  };

  void start(Owner& owner) {
    if (writing_ || next_.before.empty()) return;
    writing_ = std::exchange(next_, {});
    disk_->run(owner.writing(), [this, &owner](const Outcome<void>& outcome) { written(owner, outcome); });
  }

  void written(Owner& owner, const Outcome<void>& outcome) {
    Batch batch = *std::move(writing_);
    writing_.reset();
    if (!outcome) {
      take_back(owner, batch);
      owner.taken_back(outcome.failure());
    }
    for (const auto& done : batch.waiting) done(outcome);
    start(owner);
  }

  void take_back(Owner& owner, Batch& batch) {
    for (auto& [key, before] : batch.before) {
      const auto later = next_.before.find(key);
      if (later != next_.before.end()) {
        later->second = std::move(before);
      } else {
        owner.put_back(key, std::move(before));
      }
    }
  }

  StateDisk* disk_ = nullptr;
  std::optional<Batch> writing_;
  Batch next_;
};

}  // namespace connd::daemon
