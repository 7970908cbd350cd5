// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/crl_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "daemon/system/atomic_file.h"
#include "proto/certificate_chain.h"

namespace connd::daemon {
namespace {

/// 500 kB. What was looked at before is looked at again.
constexpr std::size_t kMaxKnownSigners = 4'096;

proto::DeviceId signer_key(const X509& certificate) {
  return proto::device_id_of(proto::public_key_der_of(X509_get0_pubkey(&certificate)));
}

}  // namespace

Outcome<CrlStore> CrlStore::open(std::string directory) {
  CrlStore store(std::move(directory));
  if (::mkdir(store.directory_.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_failure(errno, store.directory_, "the directory cannot be made");
  }
  remove_leftovers(store.directory_);
  if (auto loaded = store.load(); !loaded) return loaded.failure();
  return store;
}

Outcome<void> CrlStore::load() {
  std::error_code error;
  std::filesystem::directory_iterator at(directory_, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    if (at->path().extension() != ".crl") continue;
    const std::string path = at->path().string();
    const auto bytes = read_bounded(path, proto::RevocationList::kMaxDerBytes);
    if (!bytes) return bytes.failure();
    if (!*bytes) continue;
    auto list = proto::RevocationList::from_der(**bytes);
    if (!list || list->id() != at->path().stem()) {
      return invalid(path + ": is damaged; import the list again, after removing the file");
    }
    std::string id = list->id();
    lists_.emplace(std::move(id), *std::move(list));
  }
  if (error) return system_failure(error.value(), directory_, "the directory cannot be read");
  return {};
}

Outcome<std::string> CrlStore::add(std::string_view pem) {
  auto list = proto::RevocationList::from_pem(pem);
  if (!list) {
    return invalid("no certificate revocation list in PEM, or one with critical extensions");
  }
  std::string id = list->id();
  if (lists_.contains(id)) return id;
  if (auto room = room_for_one(); !room) return room.failure();
  if (auto applied = apply({{id, list->der()}}); !applied) return applied.failure();
  return id;
}

Outcome<void> CrlStore::room_for_one() const {
  if (lists_.size() < kMaxLists) return {};
  return connd::daemon::failure(std::errc::file_too_large,
                                std::to_string(kMaxLists) + " lists are here already; remove some");
}

void CrlStore::use(StateDisk& disk, std::function<void()> taken_back) {
  disk_ = &disk;
  taken_back_ = std::move(taken_back);
}

void CrlStore::when_stored(StateDisk::Done done) {
  if (changes_.empty()) return done({});
  changes_.back()->waiting.push_back(std::move(done));
}

/// Memory first; the disk follows.
Outcome<void> CrlStore::apply(std::vector<Step> steps) {
  if (changes_.size() >= kMaxUnsavedChanges ||
      (!changes_.empty() && changes_.back()->waiting.size() >= kMaxUnsavedChanges)) {
    return too_many_unsaved();
  }
  for (const Step& step : steps) {
    Unsettled& unsettled = unsettled_[step.id];
    const auto here = lists_.find(step.id);
    if (unsettled.changes++ == 0 && here != lists_.end()) unsettled.on_disk = here->second.der();
    put_back(step.id, step.der);
  }
  const auto change = changes_.emplace_back(std::make_shared<Change>(Change{std::move(steps)}));
  if (disk_ == nullptr) {
    auto outcome = write(directory_, *change);
    written(*change, outcome);
    return outcome;
  }
  disk_->run([change, directory = directory_] { return write(directory, *change); },
             [this, change](const Outcome<void>& outcome) { written(*change, outcome); });
  return {};
}

/// Stops at the first step that fails.
Outcome<void> CrlStore::write(const std::string& directory, Change& change) {
  for (const Step& step : change.steps) {
    const std::string path = directory + "/" + step.id + ".crl";
    const bool comes = !step.der.empty();
    if (comes) {
      if (auto written = write_atomically(path, step.der, 0600); !written) return written;
    } else if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return system_failure(errno, path, "cannot be removed");
    }
    ++change.done;
    if (comes) continue;
    if (auto synced = sync_directory(directory); !synced) return synced;
  }
  return {};
}

/// Of what no later change is under way for, memory says what the disk has.
void CrlStore::written(Change& change, const Outcome<void>& outcome) {
  const auto waiting = std::move(change.waiting);
  for (std::size_t i = 0; i < change.steps.size(); ++i) {
    const Step& step = change.steps[i];
    const auto unsettled = unsettled_.find(step.id);
    if (i < change.done) unsettled->second.on_disk = step.der;
    if (--unsettled->second.changes > 0) continue;
    if (unsettled->second.on_disk.empty() == lists_.contains(step.id)) put_back(step.id, unsettled->second.on_disk);
    unsettled_.erase(unsettled);
  }
  changes_.pop_front();
  if (!outcome) {
    spdlog::error("revocation lists: a change is taken back, for it could not be stored: {}", outcome.failure().text);
    if (taken_back_) taken_back_();
  }
  for (const auto& done : waiting) done(outcome);
}

/// Memory has the list; of no bytes, not any more.
void CrlStore::put_back(const std::string& id, const proto::ByteVector& der) {
  ++change_;
  if (der.empty()) {
    lists_.erase(id);
    std::erase_if(genuine_, [&id](const auto& known) { return known.first.first == id; });
    return;
  }
  if (auto list = proto::RevocationList::from_der(der)) lists_.insert_or_assign(id, *std::move(list));
}

/// What was looked at; issuers are as many as people make, and asked about by those who have the list alone.
bool CrlStore::is_genuine(const std::string& id, const X509& issuer) const {
  const proto::RevocationList& list = lists_.at(id);
  if (!list.is_named_after(issuer)) return false;
  const auto key = std::pair(id, signer_key(issuer));
  if (const auto known = genuine_.find(key); known != genuine_.end()) return known->second;
  if (genuine_.size() >= kMaxKnownSigners) genuine_.clear();
  return genuine_[key] = list.is_signed_by(issuer);
}

const proto::RevocationList* CrlStore::newest_of(const X509& issuer) const {
  const proto::RevocationList* newest = nullptr;
  for (const auto& [id, list] : lists_) {
    const auto number = list.number();
    if (!number || (newest != nullptr && *number <= *newest->number()) || !is_genuine(id, issuer)) continue;
    newest = &list;
  }
  return newest;
}

Outcome<bool> CrlStore::learn_genuine(const proto::RevocationList& list, const X509& issuer) {
  const auto number = list.number();
  if (!number) return false;
  const proto::RevocationList* former = newest_of(issuer);
  if (former != nullptr && *number <= *former->number()) return false;
  std::vector<std::string> over;
  std::size_t stay = 0;
  for (const auto& [id, old] : lists_) {
    if (!old.number() || !is_genuine(id, issuer)) continue;
    list.covers(old) ? over.push_back(id) : void(++stay);
  }
  if (stay >= kMaxLearntOfIssuer) {
    return connd::daemon::failure(std::errc::file_too_large, "its issuer has made " + std::to_string(stay) +
                                                                 " lists already none of which has all of another");
  }
  const std::string id = list.id();
  std::vector<Step> steps;
  if (!lists_.contains(id)) {
    if (auto room = room_for_one(); !room) return room.failure();
    steps.push_back({id, list.der()});
  }
  for (const std::string& old : over) steps.push_back({old, {}});
  if (auto applied = apply(std::move(steps)); !applied) return applied.failure();
  genuine_[{id, signer_key(issuer)}] = true;
  return true;
}

Outcome<bool> CrlStore::remove(const std::string& id) {
  if (!lists_.contains(id)) return false;
  if (auto applied = apply({{id, {}}}); !applied) return applied.failure();
  return true;
}

bool CrlStore::is_revoked(const X509& certificate, const X509& issuer) const {
  return std::any_of(lists_.begin(), lists_.end(), [&](const auto& entry) {
    return entry.second.claims(certificate, issuer) && is_genuine(entry.first, issuer);
  });
}

}  // namespace connd::daemon
