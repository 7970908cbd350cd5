// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/crl_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

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
      return connd::daemon::failure(std::errc::invalid_argument,
                                    path + ": is damaged; import the list again, after removing the file");
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
    return connd::daemon::failure(std::errc::invalid_argument,
                                  "no certificate revocation list in PEM, or one with critical extensions");
  }
  std::string id = list->id();
  if (lists_.contains(id)) return id;
  if (lists_.size() >= kMaxLists) {
    return connd::daemon::failure(std::errc::file_too_large,
                                  std::to_string(kMaxLists) + " lists are here already; remove some");
  }
  if (auto written = write_atomically(path_of(id), list->der(), 0600); !written) return written.failure();
  lists_.emplace(id, *std::move(list));
  ++change_;
  return id;
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
  const auto added = add(list.pem());
  if (!added) return added.failure();
  genuine_[{*added, signer_key(issuer)}] = true;
  for (const std::string& id : over) {
    if (auto removed = remove(id); !removed) return removed.failure();
  }
  return true;
}

Outcome<bool> CrlStore::remove(const std::string& id) {
  const auto it = lists_.find(id);
  if (it == lists_.end()) return false;
  const std::string path = path_of(id);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_failure(errno, path, "cannot be removed");
  if (auto synced = sync_directory(directory_); !synced) return synced.failure();
  lists_.erase(it);
  std::erase_if(genuine_, [&id](const auto& known) { return known.first.first == id; });
  ++change_;
  return true;
}

bool CrlStore::is_revoked(const X509& certificate, const X509& issuer) const {
  return std::any_of(lists_.begin(), lists_.end(), [&](const auto& entry) {
    return entry.second.claims(certificate, issuer) && is_genuine(entry.first, issuer);
  });
}

}  // namespace connd::daemon
