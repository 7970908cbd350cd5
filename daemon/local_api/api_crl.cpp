// SPDX-License-Identifier: GPL-3.0-or-later
// crl.*: certificate revocation lists.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/local_api/api.h"
#include "daemon/local_api/api_page.h"

namespace connd::daemon::api {

ipc::CrlEntry entry_of(const std::string& id, const proto::RevocationList& list) {
  ipc::CrlEntry entry;
  entry.crl = id;
  entry.issuer = list.issuer();
  entry.revoked = list.size();
  entry.made = static_cast<std::uint64_t>(std::max<std::int64_t>(list.made_unix(), 0));
  if (const std::int64_t due = list.due_unix(); due > 0) entry.due = static_cast<std::uint64_t>(due);
  entry.number = list.number();
  entry.too_long = entry.number && list.der().size() > RevocationSync::kMaxListBytes;
  return entry;
}

namespace {

/// What is revoked now loses its connection.
void changed(Call& call, const std::string& id, const char* what) {
  spdlog::info("revocation list {} {}, by uid {}", id, what, call.session.credentials().uid);
  if (ConnectionManager* manager = call.server.manager()) manager->lists_changed();
}

}  // namespace

Reply crl_add(Call& call) {
  const auto params = ipc::read_params<ipc::CrlAddParams>(call.params);
  if (!params) return params.error();
  CrlStore& store = call.server.context().stores.crls;
  const auto id = store.add(params->pem);
  if (!id && id.failure().code == std::errc::invalid_argument) {
    return ipc::make_error(ipc::Reason::kBadCertificate, "this is no revocation list", id.failure().text);
  }
  if (!id) return storage_error(id.failure());
  ipc::Json entry = ipc::write_members(entry_of(*id, store.list().at(*id)));
  changed(call, *id, "added");
  store.when_stored(answer_stored(call, std::move(entry)));
  return Later{};
}

Reply crl_remove(Call& call) {
  const auto params = ipc::read_params<ipc::CrlRemoveParams>(call.params);
  if (!params) return params.error();
  CrlStore& store = call.server.context().stores.crls;
  const auto removed = store.remove(params->crl);
  if (!removed) return storage_error(removed.failure());
  if (!*removed) return ipc::make_error(ipc::Reason::kNotFound, "no such revocation list");
  changed(call, params->crl, "removed");
  store.when_stored(answer_stored(call, ipc::Json::object()));
  return Later{};
}

Reply crl_list(Call& call) {
  const auto params = ipc::read_params<ipc::PageParams>(call.params);
  if (!params) return params.error();
  const auto& lists = call.server.context().stores.crls.list();
  Page page(*params);
  for (auto it = lists.upper_bound(page.after()); it != lists.end(); ++it) {
    if (!page.add(ipc::write_members(entry_of(it->first, it->second)), it->first)) break;
  }
  return answer(std::move(page).result("crls"));
}

}  // namespace connd::daemon::api
