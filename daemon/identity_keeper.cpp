// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/identity_keeper.h"

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

}  // namespace

ipc::Outcome<std::string> IdentityKeeper::request() const {
  auto made = proto::make_certificate_request(identity_.device_key_pem.view());
  if (!made) return make_error(Reason::kInternal, "no request could be made", made.error().message());
  return *std::move(made);
}

ipc::Outcome<std::string> IdentityKeeper::sign(std::string_view request_pem, std::int64_t now_unix) const {
  const auto account = identity_.identity.chain.issuers();
  if (identity_.account_key_pem.empty() || !account) return key_is_elsewhere();
  const auto key = proto::key_of_certificate_request(request_pem);
  if (!key) return make_error(Reason::kBadCertificate, "this is no certificate request", key.error().message());
  const auto chain = proto::issue_device_certificate(identity_.account_key_pem.view(), *account, *key, kDeviceName,
                                                     validity_from(now_unix));
  if (!chain) return make_error(Reason::kInternal, "no certificate could be made", chain.error().message());
  // To be able to take it back one day.
  if (const auto kept = stores_.issued.put(*chain); !kept) return of_disk(kept.failure());
  spdlog::info("signed a certificate for device={}", chain->device_id().hex());
  return chain->pem();
}

ipc::Outcome<std::string> IdentityKeeper::revoke(const proto::DeviceId& device, std::string_view chain_pem,
                                                 std::int64_t now_unix) {
  const proto::CertificateChain& own = identity_.identity.chain;
  const auto account = own.issuers();
  if (identity_.account_key_pem.empty() || !account) return key_is_elsewhere();
  if (device == own.device_id()) return make_error(Reason::kInvalidArgument, "this is the id of this device itself");
  const X509& issuer = *account->certificate(0);
  std::vector<proto::CertificateChain> chains;
  const auto take = [&](const proto::CertificateChain& chain) {
    const bool its = chain.device_id() == device && chain.account_id() == own.account_id();
    if (its) chains.push_back(chain);
    return its;
  };
  if (!chain_pem.empty()) {
    const auto chain = proto::CertificateChain::from_pem(chain_pem);
    if (!chain || !take(*chain)) {
      return make_error(Reason::kBadCertificate, "this is no chain of that device below this account");
    }
  }
  for (CertificateStore* store : {&stores_.issued, &stores_.certificates}) {
    if (const auto known = store->find(device); known && *known) (void)take(**known);
  }
  if (chains.empty()) {
    return make_error(
        Reason::kNotFound,
        "no certificate of that device below this account is known here; give its chain, or connect with it");
  }
  std::vector<const X509*> certificates;
  for (const auto& chain : chains) certificates.push_back(chain.certificate(0));
  const auto list = proto::RevocationList::issue(identity_.account_key_pem.view(), issuer,
                                                 stores_.crls.newest_of(issuer), certificates, now_unix);
  if (!list) return make_error(Reason::kInternal, "no revocation list could be made", list.error().message());
  const auto learnt = stores_.crls.learn(*list, issuer);
  if (!learnt) return of_disk(learnt.failure());
  // It has its key for ever, and a certificate that nobody remembers, perhaps.
  if (const auto banned = stores_.trust.ban(TrustSubject(device), now_unix); !banned) return of_disk(banned.failure());
  spdlog::info("revoked device={} list={}", device.hex(), list->id());
  return list->id();
}

ipc::Outcome<proto::AccountId> IdentityKeeper::import(std::string_view pem, std::string_view passphrase,
                                                      std::int64_t now_unix) {
  return proto::has_encrypted_key(pem) ? import_keys(pem, passphrase) : import_chain(pem, now_unix);
}

ipc::Outcome<proto::AccountId> IdentityKeeper::import_chain(std::string_view pem, std::int64_t now_unix) {
  const auto made = proto::Identity::load(identity_.device_key_pem.view(), pem);
  if (!made && made.error() == proto::make_error_code(proto::Errc::kKeyMismatch)) {
    return make_error(Reason::kBadCertificate, "this is another device's certificate");
  }
  if (!made) return make_error(Reason::kBadCertificate, "this is no certificate chain", made.error().message());
  if (const auto valid = made->chain.verify(now_unix); !valid) {
    return make_error(Reason::kBadCertificate, "the chain does not hold", valid.error().message());
  }
  const proto::AccountId account = made->chain.account_id();
  if (made->chain == identity_.identity.chain) return account;
  if (const auto stored = replace_chain(state_dir_, identity_, made->chain); !stored) return of_disk(stored.failure());
  spdlog::info("identity imported account={}", account.hex());
  on_replaced_();
  return account;
}

ipc::Outcome<proto::AccountId> IdentityKeeper::import_keys(std::string_view pem, std::string_view passphrase) {
  const auto keys = proto::decrypt_private_keys(pem, passphrase);
  if (!keys) return ipc::make_rpc_error(ipc::kInvalidParams, "passphrase: it does not open this key");
  const proto::CertificateChain& chain = identity_.identity.chain;
  AccountKeys ours;
  for (const proto::SecretText& key : *keys) {
    const auto der = proto::public_key_der_from(key.view());
    if (!der) continue;
    const proto::AccountId id = proto::key_id_of(*der);
    if (id == chain.account_id()) ours.account_pem = key;
    if (id == chain.ca_id() && id != chain.account_id()) ours.ca_pem = key;
  }
  if (ours.account_pem.empty()) return make_error(Reason::kBadCertificate, "this is another account's key");
  if (const auto stored = write_account_keys(state_dir_, ours); !stored) return of_disk(stored.failure());
  identity_.account_key_pem = ours.account_pem;
  spdlog::info("the account's key was imported");
  return chain.account_id();
}

ipc::Outcome<std::string> IdentityKeeper::export_account(std::string_view passphrase) const {
  if (passphrase.size() < kMinPassphraseBytes) {
    return ipc::make_rpc_error(ipc::kInvalidParams, "passphrase: at least 8 bytes");
  }
  const auto keys = read_account_keys(state_dir_);
  if (!keys) return of_disk(keys.failure());
  if (keys->account_pem.empty()) return key_is_elsewhere();
  std::string out;
  for (const proto::SecretText* key : {&keys->account_pem, &keys->ca_pem}) {
    if (key->empty()) continue;
    const auto encrypted = proto::encrypt_private_key(key->view(), passphrase);
    if (!encrypted) return make_error(Reason::kInternal, "the key could not be encrypted", encrypted.error().message());
    out += *encrypted;
  }
  return out + identity_.identity.chain.pem();
}

ipc::Outcome<void> IdentityKeeper::forget_account_key() {
  if (identity_.account_key_pem.empty()) return key_is_elsewhere();
  if (const auto removed = remove_account_keys(state_dir_); !removed) return of_disk(removed.failure());
  identity_.account_key_pem = {};
  spdlog::info("the account's key was forgotten");
  return {};
}

}  // namespace connd::daemon
