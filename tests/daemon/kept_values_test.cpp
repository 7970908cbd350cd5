// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/kept_values.h"

#include "daemon/dht/dht_setup.h"
#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

using Calls = std::vector<std::string>;

proto::PairListen pair_with(std::size_t number, std::uint8_t key) {
  proto::PairListen out{};
  out.key.bytes[0] = key;
  out.peer = device(number).id;
  return out;
}
std::string with_key(const char* what, const proto::PairListen& pair) {
  return std::string(what) + " " + hash_of(pair.key).toString();
}

struct KeptAtNode : PartsOfClient {
  KeptValues kept{node, [](const dht::InfoHash& key, const proto::DeviceId& peer) {
                    return DhtKept{key, [](const DhtValues&, bool) { return true; }, nullptr, true, peer};
                  }};
};

}  // namespace

TEST_CASE("KeptValues: of pairs what is new is listened at, what is over is not, what stays is left alone") {
  KeptAtNode at;
  const auto one = pair_with(0, 1);
  const auto two = pair_with(1, 2);
  const auto three = pair_with(1, 3);
  at.kept.listen_pairs({one, two});
  CHECK(at.node.take_calls() == Calls{with_key("keep", one), with_key("keep", two)});
  at.kept.listen_pairs({two, three});
  CHECK(at.node.take_calls() == Calls{with_key("unlisten", one), with_key("keep", three)});
  // The same key, of another peer: what the one has signed is not the other's.
  auto others = two;
  others.peer = device(0).id;
  at.kept.listen_pairs({others, three});
  CHECK(at.node.take_calls() == Calls{with_key("unlisten", two), with_key("keep", two)});
  at.kept.give();
  CHECK(at.node.take_calls().size() == 2);
}

TEST_CASE("KeptValues: no more pairs than there may be") {
  KeptAtNode at;
  std::vector<proto::PairListen> many;
  for (std::size_t i = 0; i <= kMaxPairListens; ++i) many.push_back(pair_with(0, static_cast<std::uint8_t>(i)));
  at.kept.listen_pairs(many);
  CHECK(at.node.take_calls().size() == kMaxPairListens);
}

TEST_CASE("KeptValues: a record takes the place of the one of its name; the same again changes nothing") {
  KeptAtNode at;
  const std::string key = dht::InfoHash::get("name").toString();
  at.kept.publish("name", proto::as_bytes("one"));
  at.kept.publish("other", proto::as_bytes("one"));
  CHECK(at.node.take_calls().size() == 2);
  at.kept.publish("name", proto::as_bytes("one"));
  CHECK(at.node.take_calls().empty());
  at.kept.publish("name", proto::as_bytes("two"));
  CHECK(at.node.take_calls() == Calls{"unput " + key, "keep " + key});
  at.kept.give();
  CHECK(at.node.take_calls().size() == 2);
}

TEST_CASE("KeptValues: while there is no node nothing is asked, and the next one is given all") {
  KeptAtNode at;
  at.node.there = false;
  const auto pair = pair_with(0, 1);
  at.kept.listen_pairs({pair});
  at.kept.publish("name", proto::as_bytes("one"));
  at.kept.wake_listens();
  at.kept.ask_all();
  CHECK(at.node.take_calls().empty());
  at.node.there = true;
  at.kept.give();
  CHECK(at.node.take_calls() == Calls{with_key("keep", pair), "keep " + dht::InfoHash::get("name").toString()});
}

TEST_CASE("KeptValues: pairs are woken, public keys are asked; answers are looked for where they are awaited") {
  KeptAtNode at;
  const dht::InfoHash own = dht::InfoHash::get("own");
  at.kept.keep({own, [](const DhtValues&, bool) { return true; }, nullptr, true, std::nullopt});
  const auto one = pair_with(0, 1);
  const auto two = pair_with(1, 2);
  at.kept.listen_pairs({one, two});
  at.node.take_calls();
  at.kept.ask_all();
  CHECK(at.node.take_calls() == Calls{"ask " + own.toString(), "check " + own.toString(), with_key("wake", one),
                                      with_key("check", one), with_key("wake", two), with_key("check", two)});
  AnswerWatch answers;
  answers.on_request(two.peer, at.loop.now());
  at.kept.look_for(answers);
  CHECK(at.node.take_calls() == Calls{"ask " + own.toString(), with_key("ask", two)});
}

TEST_CASE("KeptValues tells the ids of what is put that is signed") {
  KeptAtNode at;
  auto plain = value_of({1});
  auto signed_value = std::make_shared<dht::Value>(dht::ValueType::USER_DATA.id, dht::Blob{1}, dht::Value::Id{7});
  signed_value->sign(*device(0).identity.first);
  at.kept.keep({dht::InfoHash::get("a"), {}, plain});
  at.kept.keep({dht::InfoHash::get("b"), {}, signed_value});
  CHECK(at.kept.signed_ids() == std::vector<std::uint64_t>{7});
}
