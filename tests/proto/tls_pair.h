// SPDX-License-Identifier: GPL-3.0-or-later
/// Joins TLS endpoints in memory, cutting the ciphertext in any way.
#pragma once

#include <functional>
#include <random>

#include <catch2/catch.hpp>

#include "proto/tls_session.h"
#include "tests/proto/certificates.h"
#include "tests/proto/plain_tls.h"

namespace connd::test {

/// How many of `n` waiting bytes go next: 1..n.
using Cut = std::function<std::size_t(std::size_t n)>;

inline Cut cut_all() {
  return [](std::size_t n) { return n; };
}
inline Cut cut_at(std::size_t size) {
  return [size](std::size_t n) { return std::min(n, size); };
}
inline Cut cut_random(unsigned seed) {
  auto random = std::make_shared<std::minstd_rand>(seed);
  return [random](std::size_t n) { return 1 + (*random)() % n; };
}

/// Feeds all of `from`'s output to `to` and reads what comes, appended to `plain`. Returns `to`'s first error.
inline std::error_code deliver(proto::TlsSession& to, proto::Bytes bytes, proto::ByteVector& plain, const Cut& cut,
                               std::size_t read_size = 65536) {
  proto::ByteVector chunk(read_size);
  while (!bytes.empty()) {
    const std::size_t n = cut(bytes.size());
    // A copy of its own, so that the address sanitizer sees a use of a span that has ended.
    const proto::ByteVector piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    bytes = bytes.subspan(n);
    if (auto fed = to.feed(piece); !fed) return fed.error();
    while (true) {
      const auto got = to.read(chunk);
      if (!got) return got.error();
      if (*got == 0) break;
      plain.insert(plain.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(*got));
    }
  }
  return {};
}

inline proto::ByteVector take(proto::TlsSession& session) {
  const proto::Bytes all = session.output().data();
  proto::ByteVector out(all.begin(), all.end());
  session.output().consume(out.size());
  return out;
}

inline const proto::TlsContext& alice_context() {
  static const proto::TlsContext context = *proto::TlsContext::create(identity(0, alice_chain()));
  return context;
}
inline const proto::TlsContext& bob_context() {
  static const proto::TlsContext context = *proto::TlsContext::create(identity(3, bob_chain()));
  return context;
}

/// Alice is the client, Bob the server.
struct TlsPair {
  explicit TlsPair(const proto::TlsPeer& bob_is = {bob_chain().device_id(), true, kNow},
                   const proto::TlsPeer& alice_is = {alice_chain().device_id(), true, kNow},
                   const proto::TlsContext& client_context = alice_context(),
                   const proto::TlsContext& server_context = bob_context(),
                   std::uint64_t key_update_records = proto::TlsSession::kKeyUpdateRecords)
      : client(client_context, proto::TlsRole::kClient, bob_is, proto::Framing::kNone, key_update_records),
        server(server_context, proto::TlsRole::kServer, alice_is, proto::Framing::kNone, key_update_records) {}

  /// Carries bytes both ways until none is left. Errors are kept.
  void settle(const Cut& cut = cut_all()) {
    while (!client.output().empty() || !server.output().empty()) {
      const proto::ByteVector to_server = take(client);
      if (const auto error = deliver(server, to_server, server_got, cut); !server_error) server_error = error;
      const proto::ByteVector to_client = take(server);
      if (const auto error = deliver(client, to_client, client_got, cut); !client_error) client_error = error;
    }
  }
  void connect(const Cut& cut = cut_all()) {
    REQUIRE(client.start());
    REQUIRE(server.start());
    settle(cut);
  }

  proto::TlsSession client;
  proto::TlsSession server;
  proto::ByteVector client_got;
  proto::ByteVector server_got;
  std::error_code client_error;
  std::error_code server_error;
};

/// Carries bytes between a session and a stranger until none is left; returns the session's first error.
inline std::error_code settle(proto::TlsSession& session, PlainTls& stranger, proto::ByteVector& plain) {
  std::error_code first;
  while (true) {
    const proto::ByteVector out = take(session);
    if (!out.empty()) stranger.feed(out);
    const proto::ByteVector in = stranger.take_output();
    if (out.empty() && in.empty()) return first;
    if (const auto error = deliver(session, in, plain, cut_all()); !first) first = error;
  }
}

inline proto::ByteVector pattern(std::size_t size, unsigned seed = 1) {
  std::minstd_rand random(seed);
  proto::ByteVector out(size);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random() >> 8);
  return out;
}

}  // namespace connd::test
