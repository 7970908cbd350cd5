// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/identity_keeper.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "proto/certificate_request.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

using ipc::make_error;
using ipc::Reason;

constexpr const char* kDeviceName = "jami-connd device";

ipc::Error key_is_elsewhere() {
  return make_error(Reason::kNotFound, "the account's key is not on this device");
}

ipc::Error of_disk(const Failure& failure) {
  return make_error(Reason::kInternal, "it could not be stored; nothing has changed", failure.text);
}

ipc::Error no_list(const std::error_code& error) {
  return make_error(Reason::kInternal, "no revocation list could be made", error.message());
}

}  // namespace

// ---- the loop's side ----

std::shared_ptr<const IdentityKeeper::Held> IdentityKeeper::held() const {
  return std::make_shared<Held>(Held{state_dir_, identity_.device_key_pem, identity_.identity.chain});
}

void IdentityKeeper::start(Prepare prepare, Finish finish) {
  if (closed_) return finish({make_error(Reason::kNotReady, "the identity is being replaced")});
  if (jobs_.size() >= kMaxJobs) {
    return finish({make_error(Reason::kResourceLimit, "too many requests wait for an answer")});
  }
  jobs_.push_back({std::move(prepare), std::move(finish)});
  run_next();
}

void IdentityKeeper::start(Work work, Done done) {
  start([work = std::move(work)] { return work; },
        [done = std::move(done)](const Result& result) { done(result.text); });
}

void IdentityKeeper::run_next() {
  if (running_ || jobs_.empty()) return;
  running_ = true;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  // Two owners, the work and its end, which follow each other.
  auto result = std::make_shared<Result>();
  loop_.post_work([result, work = job.prepare()] { *result = work(); },
                  [this, alive = std::weak_ptr<bool>(alive_), result, finish = std::move(job.finish)] {
                    if (!alive.expired()) on_done(*result, finish);
                  });
}

void IdentityKeeper::on_done(const Result& result, const Finish& finish) {
  running_ = false;
  if (result.change == Change::kKeyCame) identity_.has_account_key = true;
  if (result.change == Change::kKeyWent) identity_.has_account_key = false;
  if (result.change == Change::kChain) close();
  finish(result);
  if (result.change == Change::kChain) return on_replaced_();
  run_next();
}

/// What waits is about an identity that is no more.
void IdentityKeeper::close() {
  closed_ = true;
  for (const Job& job : std::exchange(jobs_, {})) {
    job.finish({make_error(Reason::kNotReady, "the identity is being replaced")});
  }
}

void IdentityKeeper::request(Done done) {
  start(
      [held = held()] {
        auto made = proto::make_certificate_request(held->device_key_pem.view());
        if (!made) return Result{make_error(Reason::kInternal, "no request could be made", made.error().message())};
        return Result{*std::move(made)};
      },
      std::move(done));
}

void IdentityKeeper::sign(std::string_view request_pem, std::int64_t now_unix, Done done) {
  Work work = [held = held(), pem = std::string(request_pem), now_unix] { return sign_now(*held, pem, now_unix); };
  start([work = std::move(work)] { return work; },
        [this, done = std::move(done)](const Result& result) { keep_issued(result, done); });
}

void IdentityKeeper::revoke(const proto::DeviceId& device, std::string_view chain_pem, std::int64_t now_unix, Done done,
                            InForce in_force) {
  start(
      [this, device, pem = std::string(chain_pem), now_unix]() -> Work {
        Revocation revocation{device, pem, known_chains(device), newest_list_pem(), now_unix};
        return [held = held(), revocation = std::move(revocation)] { return revoke_now(*held, revocation); };
      },
      [this, device, now_unix, done = std::move(done), in_force = std::move(in_force)](const Result& result) {
        keep_list(result, device, now_unix, done, in_force);
      });
}

void IdentityKeeper::import(std::string_view pem, std::string_view passphrase, std::int64_t now_unix, Done done) {
  start(
      [held = held(), pem = std::string(pem), passphrase = proto::SecretText(passphrase), now_unix] {
        return proto::has_encrypted_key(pem) ? import_keys(*held, pem, passphrase.view())
                                             : import_chain(*held, pem, now_unix);
      },
      std::move(done));
}

void IdentityKeeper::export_account(std::string_view passphrase, Done done) {
  start([held = held(), passphrase = proto::SecretText(passphrase)] { return export_now(*held, passphrase.view()); },
        std::move(done));
}

void IdentityKeeper::forget_account_key(Done done) {
  start([held = held()] { return forget_now(*held); }, std::move(done));
}

/// To be able to take it back one day.
void IdentityKeeper::keep_issued(const Result& result, const Done& done) {
  if (!result.issued) return done(result.text);
  if (const auto kept = stores_.issued.put(*result.issued); !kept) return done(of_disk(kept.failure()));
  stores_.issued.when_stored(
      [done, text = result.text, device = result.issued->device_id()](const Outcome<void>& outcome) {
        if (!outcome) return done(of_disk(outcome.failure()));
        spdlog::info("signed a certificate for device={}", device.hex());
        done(text);
      });
}

std::vector<proto::CertificateChain> IdentityKeeper::known_chains(const proto::DeviceId& device) {
  std::vector<proto::CertificateChain> chains;
  for (CertificateStore* store : {&stores_.issued, &stores_.certificates}) {
    if (const auto known = store->find(device); known && *known) chains.push_back(**known);
  }
  return chains;
}

std::string IdentityKeeper::newest_list_pem() const {
  const auto account = identity_.identity.chain.issuers();
  const auto* newest = account ? stores_.crls.newest_of(*account->certificate(0)) : nullptr;
  return newest != nullptr ? newest->pem() : std::string();
}

void IdentityKeeper::keep_list(const Result& result, const proto::DeviceId& device, std::int64_t now_unix,
                               const Done& done, const InForce& in_force) {
  const auto account = identity_.identity.chain.issuers();
  if (!result.list || !account) return done(result.text);
  const auto learnt = stores_.crls.learn(*result.list, *account->certificate(0));
  if (!learnt) return done(of_disk(learnt.failure()));
  if (!*learnt) {
    return done(make_error(Reason::kNotReady, "another list of the account came at the same moment: try again"));
  }
  // It has its key for ever, and a certificate that nobody remembers, perhaps.
  const auto banned = stores_.trust.ban(TrustSubject(device), now_unix);
  spdlog::info("revoked device={} list={}", device.hex(), result.list->id());
  if (in_force) in_force(*result.list);
  stores_.crls.when_stored([&stores = stores_, banned, done, id = result.list->id()](const Outcome<void>& listed) {
    if (!listed) return done(of_disk(listed.failure()));
    if (!banned) return done(of_disk(banned.failure()));
    stores.trust.when_stored([done, id](const Outcome<void>& stored) {
      if (!stored) return done(of_disk(stored.failure()));
      done(id);
    });
  });
}

// ---- the pool's side ----

IdentityKeeper::Result IdentityKeeper::sign_now(const Held& held, std::string_view request_pem, std::int64_t now_unix) {
  const auto account_key = read_account_key(held.state_dir);
  if (!account_key) return {of_disk(account_key.failure())};
  const auto account = held.chain.issuers();
  if (account_key->empty() || !account) return {key_is_elsewhere()};
  const auto key = proto::key_of_certificate_request(request_pem);
  if (!key) return {make_error(Reason::kBadCertificate, "this is no certificate request", key.error().message())};
  const auto chain =
      proto::issue_device_certificate(account_key->view(), *account, *key, kDeviceName, validity_from(now_unix));
  if (!chain) return {make_error(Reason::kInternal, "no certificate could be made", chain.error().message())};
  Result result{chain->pem()};
  result.issued = *chain;
  return result;
}

IdentityKeeper::Result IdentityKeeper::revoke_now(const Held& held, const Revocation& revocation) {
  const auto account_key = read_account_key(held.state_dir);
  if (!account_key) return {of_disk(account_key.failure())};
  const auto account = held.chain.issuers();
  if (account_key->empty() || !account) return {key_is_elsewhere()};
  const proto::DeviceId& device = revocation.device;
  if (device == held.chain.device_id()) {
    return {make_error(Reason::kInvalidArgument, "this is the id of this device itself")};
  }
  std::vector<proto::CertificateChain> chains;
  const auto take = [&](const proto::CertificateChain& chain) {
    const bool its = chain.device_id() == device && chain.account_id() == held.chain.account_id();
    if (its) chains.push_back(chain);
    return its;
  };
  if (!revocation.chain_pem.empty()) {
    const auto chain = proto::CertificateChain::from_pem(revocation.chain_pem);
    if (!chain || !take(*chain)) {
      return {make_error(Reason::kBadCertificate, "this is no chain of that device below this account")};
    }
  }
  for (const auto& chain : revocation.known) (void)take(chain);
  if (chains.empty()) {
    return {make_error(
        Reason::kNotFound,
        "no certificate of that device below this account is known here; give its chain, or connect with it")};
  }
  std::vector<const X509*> certificates;
  for (const auto& chain : chains) certificates.push_back(chain.certificate(0));
  std::optional<proto::RevocationList> former;
  if (!revocation.former_pem.empty()) {
    auto read = proto::RevocationList::from_pem(revocation.former_pem);
    if (!read) return {no_list(read.error())};
    former = *std::move(read);
  }
  auto list = proto::RevocationList::issue(account_key->view(), *account->certificate(0), former ? &*former : nullptr,
                                           certificates, revocation.now_unix);
  if (!list) return {no_list(list.error())};
  Result result;
  result.list = *std::move(list);
  return result;
}

IdentityKeeper::Result IdentityKeeper::import_chain(const Held& held, std::string_view pem, std::int64_t now_unix) {
  const auto made = proto::Identity::load(held.device_key_pem.view(), pem);
  if (!made && made.error() == proto::make_error_code(proto::Errc::kKeyMismatch)) {
    return {make_error(Reason::kBadCertificate, "this is another device's certificate")};
  }
  if (!made) return {make_error(Reason::kBadCertificate, "this is no certificate chain", made.error().message())};
  if (const auto valid = made->chain.verify(now_unix); !valid) {
    return {make_error(Reason::kBadCertificate, "the chain does not hold", valid.error().message())};
  }
  const std::string id = made->chain.account_id().hex();
  if (made->chain == held.chain) return {id};
  const auto stored = replace_chain(held.state_dir, held.device_key_pem, held.chain, made->chain);
  if (!stored) return {of_disk(stored.failure())};
  spdlog::info("identity imported account={}", id);
  return {id, Change::kChain};
}

IdentityKeeper::Result IdentityKeeper::import_keys(const Held& held, std::string_view pem,
                                                   std::string_view passphrase) {
  const auto keys = proto::decrypt_private_keys(pem, passphrase);
  if (!keys) return {ipc::make_rpc_error(ipc::kInvalidParams, "passphrase: it does not open this key")};
  AccountKeys ours;
  for (const proto::SecretText& key : *keys) {
    const auto der = proto::public_key_der_from(key.view());
    if (!der) continue;
    const proto::AccountId id = proto::key_id_of(*der);
    if (id == held.chain.account_id()) ours.account_pem = key;
    if (id == held.chain.ca_id() && id != held.chain.account_id()) ours.ca_pem = key;
  }
  if (ours.account_pem.empty()) return {make_error(Reason::kBadCertificate, "this is another account's key")};
  if (const auto stored = write_account_keys(held.state_dir, ours); !stored) return {of_disk(stored.failure())};
  spdlog::info("the account's key was imported");
  return {held.chain.account_id().hex(), Change::kKeyCame};
}

IdentityKeeper::Result IdentityKeeper::export_now(const Held& held, std::string_view passphrase) {
  if (passphrase.size() < kMinPassphraseBytes) {
    return {ipc::make_rpc_error(ipc::kInvalidParams, "passphrase: at least 8 bytes")};
  }
  const auto keys = read_account_keys(held.state_dir);
  if (!keys) return {of_disk(keys.failure())};
  if (keys->account_pem.empty()) return {key_is_elsewhere()};
  std::string out;
  for (const proto::SecretText* key : {&keys->account_pem, &keys->ca_pem}) {
    if (key->empty()) continue;
    const auto encrypted = proto::encrypt_private_key(key->view(), passphrase);
    if (!encrypted)
      return {make_error(Reason::kInternal, "the key could not be encrypted", encrypted.error().message())};
    out += *encrypted;
  }
  return {out + held.chain.pem()};
}

IdentityKeeper::Result IdentityKeeper::forget_now(const Held& held) {
  const auto key = read_account_key(held.state_dir);
  if (!key) return {of_disk(key.failure())};
  if (key->empty()) return {key_is_elsewhere()};
  if (const auto removed = remove_account_keys(held.state_dir); !removed) return {of_disk(removed.failure())};
  spdlog::info("the account's key was forgotten");
  return {std::string(), Change::kKeyWent};
}

}  // namespace connd::daemon
