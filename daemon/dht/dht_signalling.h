// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtSignalling: Signalling over the DHT.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "daemon/dht/dht_client.h"
#include "daemon/dht/signalling.h"

namespace connd::daemon {

class DhtSignalling final : public Signalling {
 public:
  /// `dht` outlives this.
  explicit DhtSignalling(DhtClient& dht) : dht_(dht) {}

  void find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                  proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                  std::function<void(std::optional<proto::CertificateChain>)> done) override {
    dht_.find_certificate(device, short_id, deadline, use, std::move(wanted), std::move(done));
  }
  void find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                    std::function<void(const std::optional<FoundDevice>&)> found) override {
    dht_.find_devices(id, deadline, [found = std::move(found)](const std::optional<DhtDevice>& device) {
      found(device ? std::optional(FoundDevice{device->id, device->short_id, device->public_key_der}) : std::nullopt);
    });
  }
  void publish(const std::string& name, proto::Bytes data) override { dht_.publish(name, data); }
  void find_published(const std::string& name, proto::TimePoint deadline,
                      std::function<void(const std::vector<proto::ByteVector>&)> done) override {
    dht_.find_published(name, deadline, std::move(done));
  }
  void send(const SignalTarget& target, proto::Bytes body) override {
    // A message that is lost is sent again when no answer comes.
    dht_.send_request(
        target.public_key, body, request_keys(target.keys), [](bool) {}, target.pair_keys);
  }
  void listen_pairs(const std::vector<proto::PairListen>& keys) override { dht_.listen_pairs(keys); }
  void expect_answer(const proto::DeviceId& peer) override { dht_.expect_answer(peer); }
  [[nodiscard]] bool online() const override { return dht_.status().state == DhtState::kConnected; }

  static SignalMessage message_from(IncomingRequest request) {
    return {request.signer, std::move(request.signer_public_key_der), std::move(request.body), request.at_short_key,
            request.at_pair_key};
  }

 private:
  static RequestKeys request_keys(SignalKeys keys) {
    switch (keys) {
      case SignalKeys::kNone:
        return RequestKeys::kNone;
      case SignalKeys::kShort:
        return RequestKeys::kShort;
      case SignalKeys::kLong:
        return RequestKeys::kLong;
      case SignalKeys::kBoth:
        break;
    }
    return RequestKeys::kBoth;
  }

  DhtClient& dht_;
};

}  // namespace connd::daemon
