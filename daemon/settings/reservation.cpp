// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/reservation.h"

#include <charconv>

#include "daemon/system/user_names.h"
#include "ipc/limits.h"
#include "proto/utf8.h"

namespace connd::daemon {
namespace {

constexpr std::string_view kUser = "user:";
constexpr std::string_view kGroup = "group:";
/// (uid_t)-1 means "no change" to chown(2), and is nobody's.
constexpr std::uint32_t kNobodysId = ~std::uint32_t{0};

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == kNobodysId) return std::nullopt;
  return value;
}

}  // namespace

bool PrefixReservation::permits(const ipc::PeerCredentials& client) const {
  if (client.uid == 0) return true;
  return (uid && *uid == client.uid) || (gid && client.in_group(*gid));
}

std::string PrefixReservation::text() const {
  const std::string who =
      uid ? std::string(kUser) + std::to_string(*uid) : std::string(kGroup) + std::to_string(gid.value_or(0));
  return who + " " + prefix;
}

Outcome<PrefixReservation> PrefixReservation::parse(std::string_view text) {
  const std::size_t space = text.find_first_of(" \t");
  const std::string_view who = text.substr(0, space);
  const std::size_t begin = text.find_first_not_of(" \t", who.size());
  const bool user = who.starts_with(kUser);
  if ((!user && !who.starts_with(kGroup)) || begin == std::string_view::npos) {
    return invalid("'" + std::string(text) + "' is not 'user:NAME PREFIX' or 'group:NAME PREFIX'");
  }
  PrefixReservation out;
  out.prefix = text.substr(begin);
  if (out.prefix.size() > ipc::kMaxUriBytes || !proto::is_utf8(out.prefix)) {
    return invalid("the prefix is no UTF-8 of at most " + std::to_string(ipc::kMaxUriBytes) + " bytes");
  }
  const std::string name(who.substr(user ? kUser.size() : kGroup.size()));
  auto id = number(name);
  if (!id) id = user ? user_id(name) : group_id(name);
  if (!id) return invalid(std::string("there is no ") + (user ? "user" : "group") + " '" + name + "'");
  (user ? out.uid : out.gid) = *id;
  return out;
}

}  // namespace connd::daemon
