// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/request_sender.h"

#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

struct SenderAtNode : PartsOfClient {
  RequestSender sender{poster, node, device(0).identity.first};
  std::vector<bool> ended;

  void send(RequestKeys keys, proto::Bytes body = kBody) {
    sender.send(device(1).public_key, body, keys, {}, [this](bool ok) { ended.push_back(ok); });
  }
  void await_puts(std::size_t number) {
    REQUIRE(run_until(loop, [&] { return node.puts.size() == number; }));
  }
};

}  // namespace

TEST_CASE("RequestSender: a request is sealed once, put at each key, and sent when one node has it") {
  SenderAtNode at;
  at.send(RequestKeys::kBoth);
  at.await_puts(2);
  CHECK(at.node.puts[0].key != at.node.puts[1].key);
  CHECK(at.node.puts[0].value->cypher == at.node.puts[1].value->cypher);
  CHECK(at.node.puts[0].value != at.node.puts[1].value);
  const auto opened = open_request({at.node.puts[0].value->cypher}, *device(1).identity.first);
  REQUIRE(opened);
  CHECK(opened->signer == device(0).id);
  CHECK(std::ranges::equal(opened->body, kBody));
  at.node.puts[0].over(false);
  CHECK(at.ended.empty());
  at.node.puts[1].over(true);
  CHECK(at.ended == std::vector{true});
}

TEST_CASE("RequestSender: it fails when no node takes it, and is put again at another node") {
  SenderAtNode at;
  at.node.there = false;
  at.send(RequestKeys::kLong);
  at.turn();
  CHECK(at.node.puts.empty());
  at.node.there = true;
  at.sender.take_up();
  at.await_puts(1);
  at.sender.take_up();
  at.await_puts(2);
  CHECK(at.node.puts[0].value->cypher == at.node.puts[1].value->cypher);
  at.node.puts[1].over(false);
  CHECK(at.ended == std::vector{false});
}

TEST_CASE("RequestSender: what is too many, too long or too late fails, in a later turn") {
  SenderAtNode at;
  const proto::ByteVector long_body(kMaxRequestBodyBytes + 1);
  at.send(RequestKeys::kLong, long_body);
  CHECK(at.ended.empty());
  at.turn();
  CHECK(at.ended == std::vector{false});

  const proto::ByteVector body(kMaxUnsentBytes / kMaxUnsent);
  for (std::size_t i = 0; i < kMaxSends + kMaxUnsent; ++i) at.send(RequestKeys::kLong, body);
  CHECK(at.ended.size() == 1);
  at.send(RequestKeys::kLong, body);  // one more than may wait
  at.loop.post([&] { at.loop.stop(); });
  at.loop.run();
  CHECK(at.ended == std::vector{false, false});

  at.sender.stop();
  at.sender.end_all();
  CHECK(at.ended.size() == 2 + kMaxSends + kMaxUnsent);
  at.send(RequestKeys::kLong);
  at.turn();
  CHECK(at.ended.size() == 3 + kMaxSends + kMaxUnsent);
}
