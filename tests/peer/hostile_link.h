// SPDX-License-Identifier: GPL-3.0-or-later
/// HostileLink: a connection that does what it is told, right or wrong: raw bytes before TLS, any plaintext after it,
/// reading or not.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "daemon/link/ice_transport.h"
#include "proto/frame.h"
#include "proto/tls_session.h"

namespace connd::test {

class HostileLink final : public daemon::EdgeHandler {
 public:
  /// `say` gets a line for each thing that happens: `up`, `plain HEX`, `down TEXT`.
  HostileLink(daemon::EdgePoller& poller, const proto::TlsContext& context, const proto::TlsPeer& peer,
              daemon::IcePath path, std::function<void(const std::string&)> say);

  void start_tls();
  /// RFC 4571 frames of raw bytes, TLS or not.
  void send_raw(proto::Bytes bytes);
  /// Plaintext, `times` over, as fast as it is taken; `sent` is said when all is with the kernel.
  void send_plain(const proto::ByteVector& bytes, std::uint64_t times);
  /// In Jami's dialect: `bytes` on `channel`, as fast as they are taken, by turns with other pours. Each message is
  /// full, and begins with its number (8 bytes, big endian); the rest is `kFill`. Then EOF, if `end`, and `poured
  /// CHANNEL`.
  void pour(proto::WireId channel, std::uint64_t bytes, bool end);
  static constexpr std::uint8_t kFill = 0x5a;
  /// No longer reads from the socket; and again.
  void pause(bool on);
  /// Says `count N` instead of each plaintext.
  void be_quiet() { quiet_ = true; }
  /// From now on answers pings of the native dialect, as a peer does that lives, and says no plaintext.
  void live() { lives_ = quiet_ = true; }
  [[nodiscard]] std::uint64_t received() const { return received_; }

 private:
  void on_edge(std::uint32_t events) override;
  void receive();
  void take(proto::Bytes piece);
  void answer_pings(proto::Bytes plain);
  void pong(std::uint64_t number);
  void pump();
  bool make_output();
  bool pour_one();
  void down(const std::string& why);

  std::function<void(const std::string&)> say_;
  daemon::IcePath path_;
  proto::TlsSession tls_;
  proto::ByteVector scratch_ = proto::ByteVector(64 * 1024);
  proto::ByteVector repeated_;
  std::uint64_t times_ = 0;
  struct Pour {
    proto::WireId channel;
    std::uint64_t left;
    bool end;
    std::uint64_t number = 0;
  };
  std::deque<Pour> pours_;
  std::uint64_t received_ = 0;
  bool tls_on_ = false;
  bool up_ = false;
  bool quiet_ = false;
  bool lives_ = false;
  proto::NativeFrameCodec frames_;
  bool paused_ = false;
  bool down_ = false;
  std::unique_ptr<daemon::IceTransport> transport_;
};

std::string to_hex(proto::Bytes bytes);
proto::ByteVector from_hex(std::string_view hex);

}  // namespace connd::test
