// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/peer/load_dht.h"

namespace connd::test {
using namespace daemon;

LoadDht::LoadDht(Loop& loop, const std::string& bootstrap) : loop_(loop) {
  DhtConfig config;
  config.bootstrap = {bootstrap};
  config.lan_discovery = false;
  runner_.run(dht_runner_config(config, {}), dht::DhtRunner::Context{});
  runner_.forwardAllMessages(true);  // a node without a key drops what is encrypted, else
  const auto [host, port] = parse_bootstrap(bootstrap);
  runner_.bootstrap(host, port);
}

LoadDht::~LoadDht() {
  runner_.join();
}

void LoadDht::hear(const proto::DeviceId& device, std::shared_ptr<dht::crypto::PrivateKey> key, OnMessage on_message) {
  Ear& ear = ears_[device];
  ear.on_message = std::move(on_message);
  const auto heard = [this, device, key](const std::vector<std::shared_ptr<dht::Value>>& values, bool expired) {
    for (const auto& value : values) {
      if (expired) break;
      auto request = open_request({value->cypher, false}, *key);
      if (!request) continue;
      loop_.post([this, device, message = *std::move(request)] { deliver(device, message); });
    }
    return true;
  };
  ear.token = runner_.listen(request_key(device.hex()), dht::ValueCallback(heard)).share();
}

void LoadDht::forget(const proto::DeviceId& device) {
  const auto ear = ears_.extract(device);
  if (ear) runner_.cancelListen(request_key(device.hex()), ear.mapped().token);
}

void LoadDht::deliver(const proto::DeviceId& device, const SignalMessage& message) {
  const auto ear = ears_.find(device);
  if (ear != ears_.end()) ear->second.on_message(message);
}

void LoadDht::send(std::shared_ptr<dht::crypto::PrivateKey> key, const proto::ByteVector& peer_key, proto::Bytes body,
                   SignalKeys keys) {
  auto job = std::make_shared<Sealing>();  // two threads in turn: the pool fills it, the loop's puts it
  job->key = std::move(key);
  job->peer_key_der = peer_key;
  job->body.assign(body.begin(), body.end());
  job->keys = keys;
  loop_.post_work([job] { job->run(); },
                  [this, job] {
                    for (const auto& at : job->at) {
                      auto value = std::make_shared<dht::Value>(job->id);
                      value->setCypher(dht::Blob(job->cypher));
                      runner_.put(at, std::move(value));
                    }
                  });
}

}  // namespace connd::test
