// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tls_session.h"

#include <array>

#include <catch2/catch.hpp>

#include "tests/proto/tls_pair.h"

using namespace connd::proto;
using namespace connd::test;

TEST_CASE("two sessions agree, and carry bytes both ways, however the stream is cut") {
  const auto cut = GENERATE(cut_all(), cut_at(1), cut_at(7), cut_random(1), cut_random(2), cut_random(3));
  TlsPair pair;
  pair.connect(cut);
  REQUIRE_FALSE(pair.client_error);
  REQUIRE_FALSE(pair.server_error);
  REQUIRE(pair.client.handshake_done());
  REQUIRE(pair.server.handshake_done());
  CHECK(pair.client.native());
  CHECK(pair.server.native());
  CHECK(pair.client.version() == "TLSv1.3");
  CHECK(pair.client.cipher() == "TLS_AES_256_GCM_SHA384");
  // The chain arrives byte for byte.
  CHECK(*pair.client.peer_chain() == bob_chain());
  CHECK(*pair.server.peer_chain() == alice_chain());

  const ByteVector there = pattern(40'000, 1);
  const ByteVector back = pattern(20'000, 2);
  REQUIRE(pair.client.write(there));
  REQUIRE(pair.server.write(back));
  pair.settle(cut);
  CHECK(pair.server_got == there);
  CHECK(pair.client_got == back);
  CHECK_FALSE(pair.client_error);
  CHECK_FALSE(pair.server_error);
}

TEST_CASE("reads of any size give the same bytes") {
  TlsPair pair;
  pair.connect();
  const ByteVector data = pattern(50'000);
  REQUIRE(pair.client.write(data));
  const std::size_t read_size = GENERATE(1U, 100U, 16384U, 20000U, 200000U);
  ByteVector got;
  CHECK_FALSE(deliver(pair.server, take(pair.client), got, cut_all(), read_size));
  CHECK(got == data);
}

TEST_CASE("application records are counted exactly") {
  TlsPair pair;
  pair.connect();
  CHECK(pair.client.records_out() == 0);
  CHECK(pair.client.records_in() == 0);
  CHECK(pair.server.records_in() == 0);
  const ByteVector data = pattern(65'536);
  REQUIRE(pair.client.write(Bytes(data).first(10)));
  CHECK(pair.client.records_out() == 1);
  // 64 KiB are four full records, which is why frames of the mux are at most that with their header.
  REQUIRE(pair.client.write(data));
  CHECK(pair.client.records_out() == 5);
  REQUIRE(pair.client.write({}));
  CHECK(pair.client.records_out() == 5);
  REQUIRE(pair.client.close());
  CHECK(pair.client.records_out() == 5);
  pair.settle();
  CHECK(pair.server.records_in() == 5);
  CHECK(pair.server.records_out() == 0);
}

TEST_CASE("on the ICE stream each record is one RFC 4571 frame") {
  TlsSession client(alice_context(), TlsRole::kClient, {bob_chain().device_id(), true, kNow}, Framing::kRfc4571);
  TlsSession server(bob_context(), TlsRole::kServer, {alice_chain().device_id(), true, kNow}, Framing::kRfc4571);
  REQUIRE(client.start());
  std::size_t frames = 0;
  const auto unframed = [&frames](const ByteVector& stream) {
    ByteVector out;
    ByteReader reader(stream);
    while (!reader.at_end()) {
      const Bytes frame = reader.take(reader.u16());
      REQUIRE_FALSE(reader.failed());
      REQUIRE(frame.size() >= RecordFramer::kRecordHeaderBytes);
      CHECK(frame[0] >= 0x14);
      CHECK(frame[0] <= 0x17);
      CHECK(load_u16(frame.data() + 3) + RecordFramer::kRecordHeaderBytes == frame.size());
      out.insert(out.end(), frame.begin(), frame.end());
      ++frames;
    }
    return out;
  };
  ByteVector got;
  while (!client.output().empty() || !server.output().empty()) {
    REQUIRE_FALSE(deliver(server, unframed(take(client)), got, cut_all()));
    REQUIRE_FALSE(deliver(client, unframed(take(server)), got, cut_all()));
  }
  REQUIRE(client.handshake_done());
  REQUIRE(server.handshake_done());
  frames = 0;
  const ByteVector data = pattern(65'536);
  REQUIRE(client.write(data));
  REQUIRE_FALSE(deliver(server, unframed(take(client)), got, cut_all()));
  CHECK(frames == 4);
  CHECK(got == data);
}

TEST_CASE("a session's output never passes what max_output_for says, nor its bound") {
  TlsPair pair;
  pair.connect();
  for (const std::size_t size : {1U, 100U, 16384U, 16385U, 65536U, 65537U}) {
    INFO(size);
    REQUIRE(pair.client.write(pattern(size)));
    CHECK(take(pair.client).size() <= TlsSession::max_output_for(size));
  }
  const ByteVector data = pattern(65'536);
  std::size_t writes = 0;
  std::error_code error;
  while (!error && writes < 1000) {
    const std::size_t before = pair.client.output().size();
    error = pair.client.write(data).error();
    if (error) CHECK(pair.client.output().size() == before);
    writes += error ? 0 : 1;
  }
  CHECK(error == Errc::kTooLong);
  CHECK(writes == 15);
  // Not final: once the owner has sent, it goes on; and close_notify has room left.
  REQUIRE(pair.client.close());
  CHECK(pair.client.output().size() <= TlsSession::kMaxOutputBytes);
}

TEST_CASE("100 MB pass unharmed") {
  TlsPair pair;
  pair.connect();
  const ByteVector block = pattern(65'536);
  ByteVector chunk(256 * 1024);
  std::size_t received = 0;
  for (std::size_t sent = 0; sent < 100'000'000; sent += block.size()) {
    REQUIRE(pair.client.write(block));
    REQUIRE(pair.server.feed(pair.client.output().data()));
    while (true) {
      const auto got = pair.server.read(chunk);
      REQUIRE(got);
      if (*got == 0) break;
      REQUIRE(*got == block.size());
      REQUIRE(std::equal(block.begin(), block.end(), chunk.begin()));
      received += *got;
    }
    pair.client.output().clear();
  }
  CHECK(received >= 100'000'000);
  CHECK(pair.server.records_in() == pair.client.records_out());
}

TEST_CASE("sending keys change when their limit comes near") {
  TlsPair pair({bob_chain().device_id(), true, kNow}, {alice_chain().device_id(), true, kNow}, alice_context(),
               bob_context(), 4);
  pair.connect();
  ByteVector sent;
  for (unsigned i = 0; i < 20; ++i) {
    const ByteVector data = pattern(100, i);
    sent.insert(sent.end(), data.begin(), data.end());
    REQUIRE(pair.client.write(data));
    REQUIRE(pair.server.write(data));
    pair.settle(cut_random(i));
  }
  CHECK_FALSE(pair.client_error);
  CHECK_FALSE(pair.server_error);
  CHECK(pair.server_got == sent);
  CHECK(pair.client_got == sent);
  CHECK(pair.client.key_updates() == 4);  // before records 5, 9, 13 and 17
  CHECK(pair.client.records_out() == 20);
  CHECK(pair.server.records_in() == 20);
}

TEST_CASE("close_notify ends each direction on its own, in both orders") {
  const bool client_first = GENERATE(true, false);
  TlsPair pair;
  pair.connect();
  TlsSession& first = client_first ? pair.client : pair.server;
  TlsSession& second = client_first ? pair.server : pair.client;
  ByteVector& first_got = client_first ? pair.client_got : pair.server_got;
  REQUIRE(first.write(as_bytes("last words")));
  REQUIRE(first.close());
  REQUIRE(first.close());
  pair.settle();
  CHECK(second.peer_closed());
  CHECK_FALSE(first.peer_closed());
  CHECK((client_first ? pair.server_got : pair.client_got).size() == 10);
  REQUIRE(second.write(as_bytes("still here")));
  REQUIRE(second.close());
  pair.settle();
  CHECK(first.peer_closed());
  CHECK(as_text(first_got) == "still here");
  CHECK_FALSE(pair.client_error);
  CHECK_FALSE(pair.server_error);
  // RFC 8446, 6.1: what follows a closure alert is ignored.
  REQUIRE(first.feed(as_bytes("garbage")));
  ByteVector out(10);
  CHECK(*first.read(out) == 0);
}

TEST_CASE("a stream that ends early is not taken for a clean end") {
  TlsPair pair;
  pair.connect();
  REQUIRE(pair.client.write(pattern(1000)));
  REQUIRE(pair.client.close());
  const ByteVector all = take(pair.client);
  ByteVector got;
  CHECK_FALSE(deliver(pair.server, Bytes(all).first(all.size() - 1), got, cut_all()));
  CHECK(got.size() == 1000);
  CHECK_FALSE(pair.server.peer_closed());
  CHECK_FALSE(deliver(pair.server, Bytes(all).last(1), got, cut_all()));
  CHECK(pair.server.peer_closed());
}

TEST_CASE("one flipped bit in a record ends the session, and the error stays") {
  TlsPair pair;
  pair.connect();
  REQUIRE(pair.client.write(pattern(1000)));
  ByteVector bytes = take(pair.client);
  bytes[500] ^= 1;
  ByteVector got;
  CHECK(deliver(pair.server, bytes, got, cut_all()) == Errc::kTlsFailed);
  CHECK(got.empty());
  CHECK_FALSE(pair.server.error_detail().empty());
  CHECK(pair.server.feed(bytes).error() == Errc::kTlsFailed);
  CHECK(pair.server.read(bytes).error() == Errc::kTlsFailed);
  CHECK(pair.server.write(bytes).error() == Errc::kTlsFailed);
  CHECK(pair.server.close().error() == Errc::kTlsFailed);
  // The peer learns of it by an alert.
  CHECK(deliver(pair.client, take(pair.server), got, cut_all()) == Errc::kTlsAlert);
}

TEST_CASE("garbage is an error in each phase, behind the data that was good") {
  const ByteVector garbage(100, 0x47);
  ByteVector got;
  TlsPair fresh;
  REQUIRE(fresh.client.start());
  REQUIRE(fresh.server.start());
  CHECK(deliver(fresh.server, garbage, got, cut_at(1)) == Errc::kTlsFailed);
  CHECK(deliver(fresh.client, garbage, got, cut_at(1)) == Errc::kTlsFailed);

  TlsPair pair;
  pair.connect();
  REQUIRE(pair.client.write(pattern(1000)));
  ByteVector bytes = take(pair.client);
  bytes.insert(bytes.end(), garbage.begin(), garbage.end());
  CHECK(deliver(pair.server, bytes, got, cut_all()) == Errc::kTlsFailed);
  CHECK(got == pattern(1000));
}

TEST_CASE("every truncation of the handshake waits for more, and every flipped byte of it ends in an error") {
  TlsPair model;
  REQUIRE(model.client.start());
  const ByteVector hello = take(model.client);
  ByteVector none;
  for (std::size_t n = 0; n < hello.size(); ++n) {
    TlsSession server(bob_context(), TlsRole::kServer, {alice_chain().device_id(), true, kNow}, Framing::kNone);
    REQUIRE_FALSE(deliver(server, Bytes(hello).first(n), none, cut_all()));
    REQUIRE(server.output().empty());
  }
  REQUIRE_FALSE(deliver(model.server, hello, none, cut_all()));
  const ByteVector flight = take(model.server);
  std::minstd_rand random(5);
  for (unsigned i = 0; i < 60; ++i) {
    const std::size_t at = random() % flight.size();
    INFO(at);
    TlsPair pair;
    REQUIRE(pair.client.start());
    REQUIRE_FALSE(deliver(pair.server, take(pair.client), none, cut_all()));
    ByteVector bad = take(pair.server);
    bad[at % bad.size()] ^= 0x10;
    const std::error_code error = deliver(pair.client, bad, none, cut_all());
    // A length that grew makes the client wait; nothing lets it finish.
    CHECK_FALSE(pair.client.handshake_done());
    CHECK((error || pair.client.output().empty()));
  }
}

TEST_CASE("fault A5: both sides of a session export the same secret, and no other session has it") {
  std::array<std::uint8_t, 32> zero{};
  auto client = zero;
  auto server = zero;
  auto other = zero;
  TlsPair pair;
  CHECK_FALSE(pair.client.export_secret("label", client));
  CHECK(client == zero);
  pair.connect();
  REQUIRE(pair.client.export_secret("label", client));
  REQUIRE(pair.server.export_secret("label", server));
  CHECK(client != zero);
  CHECK(client == server);
  REQUIRE(pair.client.export_secret("another", other));
  CHECK(other != client);
  TlsPair next;
  next.connect();
  REQUIRE(next.client.export_secret("label", other));
  CHECK(other != client);
}
