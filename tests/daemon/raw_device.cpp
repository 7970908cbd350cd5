// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/daemon/raw_device.h"

#include <ctime>

#include <catch2/catch.hpp>

namespace connd::test {
using namespace daemon;

void RawDevice::Wire::say(const std::vector<proto::control::Message>& messages) {
  proto::ByteVector body;
  for (const auto& message : messages) proto::control::encode(message, body);
  proto::ByteVector frame(proto::NativeFrameCodec::kHeaderBytes);
  proto::NativeFrameCodec().write_header(frame.data(), proto::kControlChannel, body.size());
  frame.insert(frame.end(), body.begin(), body.end());
  send(frame);
}

void RawDevice::Wire::data(proto::WireId channel, const std::string& bytes) {
  proto::ByteVector frame(proto::NativeFrameCodec::kHeaderBytes);
  proto::NativeFrameCodec().write_header(frame.data(), channel, bytes.size());
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  send(frame);
}

RawDevice::Wire::Come RawDevice::Wire::come() const {
  using Kind = proto::FramePiece::Kind;
  Come all;
  proto::NativeFrameCodec codec;
  proto::Bytes in = plain;
  for (;;) {
    auto piece = codec.next(in);
    REQUIRE(piece.ok());
    if (!*piece) return all;
    if ((*piece)->kind == Kind::kEnd) all.ends.push_back((*piece)->channel);
    if ((*piece)->kind == Kind::kData) all.data.append((*piece)->body.begin(), (*piece)->body.end());
    if ((*piece)->kind != Kind::kControl) continue;
    auto messages = proto::control::decode((*piece)->body);
    REQUIRE(messages.ok());
    all.messages.insert(all.messages.end(), messages->begin(), messages->end());
  }
}

namespace {
proto::TlsContext context_of(std::size_t identity) {
  auto context = proto::TlsContext::create(node_identity(identity));
  REQUIRE(context.ok());
  return std::move(*context);
}
}  // namespace

RawDevice::RawDevice(Exchange& exchange, std::size_t identity)
    : id(node_identity(identity).chain.device_id()),
      public_key(node_identity(identity).chain.public_key_der()),
      world(exchange.world()),
      exchange_(exchange),
      tls_(context_of(identity)) {
  exchange.planted.push_back(node_identity(identity).chain);
  exchange.outsiders[public_key] = [this](const SignalMessage& message) { on_message(message); };
}

RawDevice::~RawDevice() {
  exchange_.outsiders.erase(public_key);
}

RawDevice::Wire& RawDevice::call(Node& node) {
  wires_.push_back(std::make_unique<Wire>());
  Wire& wire = *wires_.back();
  node_ = &node;
  asked_ = &wire;
  begin(wire, ++request_, false);
  return wire;
}

RawDevice::Wire& RawDevice::answer_next(Node& node) {
  wires_.push_back(std::make_unique<Wire>());
  node_ = &node;
  answers_ = wires_.back().get();
  return *answers_;
}

void RawDevice::greet(Wire& wire) {
  REQUIRE(world.run_until([&] { return wire.up; }));
  wire.say({proto::control::Hello{}});
  REQUIRE(world.run_until([&] { return !wire.all<proto::control::Hello>().empty(); }));
}

void RawDevice::on_message(const SignalMessage& message) {
  const auto request = proto::ConnectionRequest::decode(message.body);
  REQUIRE(request.ok());
  auto remote = proto::IceDescription::parse(request->ice_text);
  REQUIRE(remote.ok());
  if (request->is_answer) {
    if (asked_ != nullptr && request->id == request_) std::exchange(asked_, nullptr)->agent->set_remote(*remote, true);
    return;
  }
  if (answers_ == nullptr) return;
  Wire& wire = *std::exchange(answers_, nullptr);
  begin(wire, request->id, true);
  wire.agent->set_remote(*remote, true);
}

void RawDevice::begin(Wire& wire, std::uint64_t request, bool callee) {
  IceConfig config;
  config.controlling = callee;
  config.local_addresses = {"127.0.0.1"};
  config.allow_loopback = true;
  IceCallbacks callbacks;
  callbacks.on_gathered = [this, request, callee](const proto::IceDescription& local) {
    tell(*node_, request, local.to_text(), callee);
  };
  callbacks.on_path = [this, &wire](IcePath path) {
    proto::TlsPeer peer;
    peer.expected = node_->id;
    peer.native_offered = peer.native_demanded = true;
    peer.now_unix = static_cast<std::int64_t>(std::time(nullptr));
    wire.link = std::make_unique<HostileLink>(world.poller, tls_, peer, std::move(path), [&wire](const auto& line) {
      if (line == "up") wire.up = true;
      if (line.starts_with("down")) wire.down = true;
      if (!line.starts_with("plain ")) return;
      const proto::ByteVector bytes = from_hex(std::string_view(line).substr(6));
      wire.plain.insert(wire.plain.end(), bytes.begin(), bytes.end());
    });
    wire.link->start_tls();
    wire.agent.reset();
  };
  callbacks.on_failed = [](const std::string& why) { FAIL(why); };
  wire.agent = std::make_unique<IceAgent>(world.loop, world.bridge, std::move(config), std::move(callbacks));
  wire.agent->gather();
}

void RawDevice::tell(Node& node, std::uint64_t request_id, const std::string& ice_text, bool is_answer) {
  proto::ConnectionRequest request;
  request.id = request_id;
  request.ice_text = ice_text;
  request.is_answer = is_answer;
  request.native_version = proto::ConnectionRequest::kNativeVersion;
  world.loop.post([this, to = &node, body = request.encode()] {
    to->manager->on_signal(SignalMessage{id, public_key, body, false, false});
  });
}

}  // namespace connd::test
