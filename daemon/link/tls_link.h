// SPDX-License-Identifier: GPL-3.0-or-later
/// TlsLink: TLS over the TCP connection that ICE has found, with RFC 4571 framing. Bytes are decrypted from the shared
/// scratch buffer into its second half, and encrypted into the session's output, from where the socket sends.
#pragma once

#include "daemon/event_loop/edge_poller.h"
#include "daemon/link/ice_transport.h"
#include "daemon/link/link.h"
#include "proto/tls_session.h"

namespace connd::daemon {

class TlsLink final : public Link, private EdgeHandler {
 public:
  /// The TLS role follows the ICE role in `path`: controlling is the client. `poller` and `scratch` outlive the link.
  TlsLink(EdgePoller& poller, PumpScratch& scratch, const proto::TlsContext& tls, const proto::TlsPeer& peer,
          IcePath path);

  proto::Result<void> start(Owner& owner) override;
  proto::Result<Status> receive(std::size_t most) override;
  void again() override { transport_.again(); }
  proto::Result<void> write(proto::Bytes plain) override { return tls_.write(plain); }
  [[nodiscard]] std::size_t unsent() const override { return tls_.output().size(); }
  proto::Result<Status> flush() override;
  [[nodiscard]] bool quiet() const override { return tls_.output().empty() && transport_.quiet(); }
  [[nodiscard]] Delivery delivery() const override { return transport_.delivery(); }
  void close() override { (void)tls_.close(); }
  [[nodiscard]] bool peer_closed() const override { return tls_.peer_closed(); }
  void end_output() override { transport_.end_output(); }
  Status discard() override;
  [[nodiscard]] std::chrono::microseconds round_trip() const override { return transport_.round_trip(); }
  void watch_silence(std::chrono::seconds idle) override { transport_.ask_kernel(idle); }
  void limit_unread() override { transport_.limit_unread(); }
  void agreed() override { transport_.release_others(); }
  [[nodiscard]] const proto::DeviceId& peer() const override { return peer_; }
  [[nodiscard]] const proto::CertificateChain* peer_chain() const override;
  [[nodiscard]] bool client() const override { return transport_.path().controlling; }
  [[nodiscard]] bool native() const override { return tls_.native(); }
  [[nodiscard]] bool export_secret(std::string_view label, proto::MutableBytes out) const override {
    return tls_.export_secret(label, out);
  }
  [[nodiscard]] const Path& path() const override { return path_; }
  [[nodiscard]] Counts counts() const override;
  [[nodiscard]] const std::string& error_detail() const override { return tls_.error_detail(); }

  /// The TCP socket, which stays the link's.
  [[nodiscard]] int fd() const { return transport_.path().socket.get(); }

 private:
  void on_edge(std::uint32_t events) override;
  proto::Result<void> take_pieces();
  proto::Result<void> decrypt(proto::Bytes cipher, std::size_t& filled);
  proto::Result<void> give(std::size_t filled);

  PumpScratch& scratch_;
  const proto::DeviceId peer_;
  const Path path_;
  Owner* owner_ = nullptr;  ///< set by start
  proto::TlsSession tls_;
  bool secured_ = false;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  IceTransport transport_;  // last: its watch must not call into what is half destroyed
};

}  // namespace connd::daemon
