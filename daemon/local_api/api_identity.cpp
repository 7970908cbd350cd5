// SPDX-License-Identifier: GPL-3.0-or-later
// identity.request, sign, import, export_account, forget_account_key; identity.show is in api_daemon.cpp
#include <ctime>
#include <memory>

#include "daemon/local_api/api.h"
#include "daemon/trust/identity_keeper.h"

namespace connd::daemon::api {
namespace {

std::int64_t unix_now() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

/// What all have in common: params, an identity that is there, and an answer that comes when the pool is through.
/// `run(keeper, params, done)`.
/// `result_of(text)`: its result.
template <class Params, class Run, class ResultOf>
Reply with_identity(Call& call, Run run, ResultOf result_of) {
  const auto params = ipc::read_params<Params>(call.params);
  if (!params) return params.error();
  IdentityKeeper* keeper = call.server.identity();
  if (keeper == nullptr) return ipc::make_error(ipc::Reason::kNotReady, "there is no identity yet");
  run(*keeper, *params,
      [&server = call.server, client = call.session.number(), id = call.id, result_of](IdentityKeeper::Text done) {
        if (!done) return server.answer_later(client, id, done.error());
        server.answer_later(client, id, result_of(*std::move(done)));
      });
  return Later{};
}

/// The text, as `Result`'s only member.
template <class Result>
ipc::Json text_result(std::string text) {
  return ipc::write_members(Result{std::move(text)});
}

ipc::Json no_result(std::string /*text*/) {
  return ipc::Json::object();
}

}  // namespace

Reply identity_request(Call& call) {
  return with_identity<ipc::Nothing>(
      call, [](IdentityKeeper& keeper, const auto&, auto done) { keeper.request(std::move(done)); },
      text_result<ipc::CertificateRequest>);
}

Reply identity_sign(Call& call) {
  return with_identity<ipc::CertificateRequest>(
      call,
      [](IdentityKeeper& keeper, const auto& params, auto done) {
        keeper.sign(params.request, unix_now(), std::move(done));
      },
      text_result<ipc::IdentitySignResult>);
}

Reply identity_revoke(Call& call) {
  // Two owners, what is called when it is in force and what makes the answer: the list may be gone when the disk has
  // it.
  const auto result = std::make_shared<ipc::Json>();
  return with_identity<ipc::IdentityRevokeParams>(
      call,
      [&server = call.server, result](IdentityKeeper& keeper, const auto& params, auto done) {
        const auto device = resolve_peer(server, params.device);
        if (!device) return done(device.error());
        keeper.revoke(*device, params.chain, unix_now(), std::move(done),
                      [&server, result](const proto::RevocationList& list) {
                        *result = ipc::write_members(ipc::IdentityRevokeResult{entry_of(list.id(), list), list.pem()});
                        if (ConnectionManager* manager = server.manager()) manager->lists_changed();
                      });
      },
      [result](const std::string& /*id*/) { return *result; });
}

Reply identity_import(Call& call) {
  return with_identity<ipc::IdentityImportParams>(
      call,
      [](IdentityKeeper& keeper, const auto& params, auto done) {
        keeper.import(params.pem, params.passphrase, unix_now(), std::move(done));
      },
      text_result<ipc::IdentityImportResult>);
}

Reply identity_export_account(Call& call) {
  return with_identity<ipc::IdentityExportParams>(
      call,
      [](IdentityKeeper& keeper, const auto& params, auto done) {
        keeper.export_account(params.passphrase, std::move(done));
      },
      text_result<ipc::IdentityExportResult>);
}

Reply identity_forget_account_key(Call& call) {
  return with_identity<ipc::Nothing>(
      call, [](IdentityKeeper& keeper, const auto&, auto done) { keeper.forget_account_key(std::move(done)); },
      no_result);
}

}  // namespace connd::daemon::api
