// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The local API's methods about trust, aliases, revocation lists and the device's identity as structs; as ipc/api.h
/// for channels.
#pragma once

#include <string>
#include <vector>

#include "ipc/api.h"

namespace connd::ipc {

// ---- trust, aliases

enum class Trust { kAllowed, kBanned, kUnknown };
template <>
struct EnumNames<Trust> {
  static constexpr std::array<std::pair<std::string_view, Trust>, 3> kValues = {{
      {"allowed", Trust::kAllowed},
      {"banned", Trust::kBanned},
      {"unknown", Trust::kUnknown},
  }};
};
enum class TrustKind { kDevice, kAccount, kCa };
template <>
struct EnumNames<TrustKind> {
  static constexpr std::array<std::pair<std::string_view, TrustKind>, 3> kValues = {{
      {"device", TrustKind::kDevice},
      {"account", TrustKind::kAccount},
      {"ca", TrustKind::kCa},
  }};
};
struct TrustParams {
  std::string id;                 ///< hex digits: 64 of a device, 40 of an account or CA; or an alias
  std::optional<TrustKind> kind;  ///< needed only to tell a CA from an account
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("id", self.id, kPeerBounds);
    io.optional("kind", self.kind);
  }
};
/// One uri, or all that begin with it.
struct ScopeUri {
  std::string uri;
  bool prefix = false;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("uri", self.uri, Bounds{0, kMaxScopeBytes});
    io.optional("prefix", self.prefix);
  }
};
struct TrustAllowParams {
  std::string id;
  std::optional<TrustKind> kind;
  std::optional<std::vector<ScopeUri>> scope;  ///< for which uris; absent: for all
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("id", self.id, kPeerBounds);
    io.optional("kind", self.kind);
    io.optional("scope", self.scope, Bounds{1, kMaxScopeUris});
  }
};
struct TrustEntry {
  std::string id;
  TrustKind kind = TrustKind::kDevice;
  Trust trust = Trust::kUnknown;
  std::optional<std::string> alias;
  std::optional<std::vector<ScopeUri>> scope;  ///< for which uris it is allowed; absent: for all
  std::optional<std::string> account;          ///< of a device: that which it had when it was met first
  std::optional<std::string> banned_by;        ///< of a device: the ban of 40 digits that means it too
  /// Of a ban of 40 digits: the devices that it is known to mean, of those that have an entry or are connected.
  std::optional<std::vector<std::string>> devices;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("id", self.id);
    io.required("kind", self.kind);
    io.required("trust", self.trust);
    io.optional("alias", self.alias);
    io.optional("scope", self.scope);
    io.optional("account", self.account);
    io.optional("banned_by", self.banned_by);
    io.optional("devices", self.devices);
  }
};
struct TrustListResult {
  std::vector<TrustEntry> entries;
  std::optional<std::string> next{};  ///< `after` of the next page, if there is one
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("entries", self.entries);
    io.optional("next", self.next);
  }
};
/// Params of alias.set; an item of alias.list.
struct Alias {
  std::string name;
  std::string device;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("name", self.name, kNameBounds);
    io.required("device", self.device, Bounds{64, 64});
  }
};
struct AliasRemoveParams {
  std::string name;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("name", self.name, kNameBounds);
  }
};
struct AliasListResult {
  std::vector<Alias> aliases;
  std::optional<std::string> next{};  ///< `after` of the next page, if there is one
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("aliases", self.aliases);
    io.optional("next", self.next);
  }
};
/// A name that can never be taken for an id: starts with a letter or '_', then letters, digits and "._-@"; at most
/// kMaxNameBytes; not 40 or 64 hex digits. The error is -32602.
[[nodiscard]] Outcome<void> check_alias(std::string_view name);

struct CrlAddParams {
  std::string pem;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("pem", self.pem, Bounds{1, kMaxCrlBytes});
  }
};
struct CrlRemoveParams {
  std::string crl;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("crl", self.crl, Bounds{64, 64});
  }
};
struct CrlEntry {
  std::string crl;     ///< SHA-256 of the list's DER
  std::string issuer;  ///< its name, for people
  std::uint64_t revoked = 0;
  std::uint64_t made = 0;               ///< seconds since 1970
  std::optional<std::uint64_t> due;     ///< when a newer one is promised; in the past: this one is stale
  std::optional<std::uint64_t> number;  ///< of the issuer's lists the newest has the greatest
  bool too_long = false;                ///< to travel by the DHT: each device that is to know it takes it by hand
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("crl", self.crl);
    io.required("issuer", self.issuer, Bounds{0, kMaxChainBytes});
    io.required("revoked", self.revoked);
    io.optional("made", self.made);
    io.optional("due", self.due);
    io.optional("number", self.number);
    io.optional("too_long", self.too_long);
  }
};
struct CrlListResult {
  std::vector<CrlEntry> crls;
  std::optional<std::string> next{};  ///< `after` of the next page, if there is one
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("crls", self.crls);
    io.optional("next", self.next);
  }
};

struct IdentityResult {
  std::string device;
  std::string short_device;
  std::string account;
  std::string ca;
  bool account_key = false;  ///< whether this device holds the account's private key
  std::string chain;         ///< PEM certificates, the device's first
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("device", self.device);
    io.required("short_device", self.short_device);
    io.required("account", self.account);
    io.required("ca", self.ca);
    io.required("account_key", self.account_key);
    io.required("chain", self.chain, Bounds{0, kMaxChainBytes});
  }
};

struct IdentityRevokeParams {
  std::string device;
  std::string chain;  ///< PEM; a certificate of it that is not known here
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("device", self.device, kPeerBounds);
    io.optional("chain", self.chain, Bounds{0, kMaxChainBytes});
  }
};
struct IdentityRevokeResult {
  CrlEntry crl;
  std::string pem;  ///< the list, for devices that the DHT does not bring it to
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("crl", self.crl);
    io.required("pem", self.pem, Bounds{1, kMaxCrlBytes});
  }
};

/// Result of identity.request, params of identity.sign.
struct CertificateRequest {
  std::string request;  ///< PKCS#10, PEM
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, Bounds{1, kMaxChainBytes});
  }
};
struct IdentitySignResult {
  std::string chain;  ///< PEM certificates, the new device's first
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("chain", self.chain, Bounds{1, kMaxChainBytes});
  }
};
struct IdentityImportParams {
  std::string pem;
  std::string passphrase;  ///< of encrypted keys
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("pem", self.pem, Bounds{1, 2 * kMaxChainBytes});
    io.optional("passphrase", self.passphrase);
  }
};
struct IdentityImportResult {
  std::optional<std::string> account;  ///< to which this device belongs from now on; older daemons do not say it
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.optional("account", self.account);
  }
};
struct IdentityExportParams {
  std::string passphrase;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("passphrase", self.passphrase);
  }
};
struct IdentityExportResult {
  std::string account;  ///< PEM: encrypted keys, then the chain
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("account", self.account, Bounds{1, 2 * kMaxChainBytes});
  }
};

}  // namespace connd::ipc
