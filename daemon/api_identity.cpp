// SPDX-License-Identifier: GPL-3.0-or-later
// identity.request, sign, import, export_account, forget_account_key; identity.show is in api_daemon.cpp
#include <ctime>

#include "daemon/api.h"
#include "daemon/identity_keeper.h"

namespace connd::daemon::api {
namespace {

std::int64_t unix_now() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

/// What all have in common: params, and an identity that is there.
template <class Params, class Run>
Reply with_identity(Call& call, Run run) {
  const auto params = ipc::read_params<Params>(call.params);
  if (!params) return params.error();
  IdentityKeeper* keeper = call.server.identity();
  if (keeper == nullptr) return ipc::make_error(ipc::Reason::kNotReady, "there is no identity yet");
  return run(*keeper, *params);
}

/// The text that `done` has, as `Result`'s only member.
template <class Result>
Reply text_answer(ipc::Outcome<std::string> done) {
  if (!done) return done.error();
  return answer(Result{*std::move(done)});
}

Reply empty_answer(const ipc::Outcome<void>& done) {
  if (!done) return done.error();
  return Answer{};
}

}  // namespace

Reply identity_request(Call& call) {
  return with_identity<ipc::Nothing>(
      call, [](IdentityKeeper& keeper, const auto&) { return text_answer<ipc::CertificateRequest>(keeper.request()); });
}

Reply identity_sign(Call& call) {
  return with_identity<ipc::CertificateRequest>(call, [](IdentityKeeper& keeper, const auto& params) {
    return text_answer<ipc::IdentitySignResult>(keeper.sign(params.request, unix_now()));
  });
}

Reply identity_revoke(Call& call) {
  return with_identity<ipc::IdentityRevokeParams>(call, [&call](IdentityKeeper& keeper, const auto& params) -> Reply {
    const auto device = resolve_peer(call.server, params.device);
    if (!device) return device.error();
    const auto id = keeper.revoke(*device, params.chain, unix_now());
    if (!id) return id.error();
    if (ConnectionManager* manager = call.server.manager()) manager->lists_changed();
    const proto::RevocationList& list = call.server.context().stores.crls.list().at(*id);
    return answer(ipc::IdentityRevokeResult{entry_of(*id, list), list.pem()});
  });
}

Reply identity_import(Call& call) {
  return with_identity<ipc::IdentityImportParams>(call, [](IdentityKeeper& keeper, const auto& params) -> Reply {
    const auto account = keeper.import(params.pem, params.passphrase, unix_now());
    if (!account) return account.error();
    return answer(ipc::IdentityImportResult{account->hex()});
  });
}

Reply identity_export_account(Call& call) {
  return with_identity<ipc::IdentityExportParams>(call, [](IdentityKeeper& keeper, const auto& params) {
    return text_answer<ipc::IdentityExportResult>(keeper.export_account(params.passphrase));
  });
}

Reply identity_forget_account_key(Call& call) {
  return with_identity<ipc::Nothing>(
      call, [](IdentityKeeper& keeper, const auto&) { return empty_answer(keeper.forget_account_key()); });
}

}  // namespace connd::daemon::api
