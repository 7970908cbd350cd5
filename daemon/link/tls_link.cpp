// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/link/tls_link.h"

#include <utility>

#include "proto/error.h"

namespace connd::daemon {
TlsLink::TlsLink(EdgePoller& poller, PumpScratch& scratch, const proto::TlsContext& tls, const proto::TlsPeer& peer,
                 IcePath path)
    : scratch_(scratch),
      peer_(peer.expected),
      path_{path.local, path.remote, path.kind},
      tls_(tls, path.controlling ? proto::TlsRole::kClient : proto::TlsRole::kServer, peer, proto::Framing::kRfc4571),
      transport_(poller, std::move(path), *this) {}

proto::Result<void> TlsLink::start(Owner& owner) {
  owner_ = &owner;
  if (const auto started = tls_.start(); !started) return started;
  const proto::Bytes early = transport_.path().early;
  if (early.empty()) return {};
  std::size_t filled = 0;
  if (const auto taken = decrypt(early, filled); !taken) return taken;
  return give(filled);
}

void TlsLink::on_edge(std::uint32_t events) {
  transport_.note(events);
  owner_->link_ready((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0, (events & EPOLLOUT) != 0);
}

// ---- in ----

proto::Result<Link::Status> TlsLink::receive(std::size_t most) {
  const auto status = transport_.receive(proto::MutableBytes(scratch_.cipher).first(most));
  if (!status) return status.error();
  if (const auto taken = take_pieces(); !taken) return taken.error();
  if (tls_.peer_closed()) return Status::kEnded;
  if (*status == Status::kEnded) return make_error_code(proto::Errc::kTlsTruncated);
  return status;
}

proto::Result<void> TlsLink::take_pieces() {
  std::size_t filled = 0;
  for (;;) {
    const auto piece = transport_.next(tls_.output());
    if (piece && !*piece) break;
    if (piece) bytes_in_ += (*piece)->size();
    const auto decrypted = piece ? decrypt(**piece, filled) : piece.error();
    if (!decrypted) {
      (void)give(filled);  // what came before the error is good
      return decrypted;
    }
    if (secured_) owner_->link_heard();
  }
  return give(filled);
}

/// Decrypts `cipher` behind the `filled` bytes of plaintext that wait in the scratch buffer.
proto::Result<void> TlsLink::decrypt(proto::Bytes cipher, std::size_t& filled) {
  if (const auto fed = tls_.feed(cipher); !fed) return fed;
  if (!secured_ && tls_.handshake_done()) {
    secured_ = true;
    if (const auto ready = owner_->link_secured(); !ready) return ready;
  }
  const proto::MutableBytes plain = scratch_.plain;
  for (;;) {
    if (filled == plain.size()) {
      if (const auto taken = give(filled); !taken) return taken;
      filled = 0;
    }
    const auto n = tls_.read(plain.subspan(filled));
    if (!n) return n.error();
    if (*n == 0) return {};
    filled += *n;
  }
}

proto::Result<void> TlsLink::give(std::size_t filled) {
  if (filled == 0) return {};
  return owner_->link_plain(proto::Bytes(scratch_.plain).first(filled));
}

// ---- out, and the end ----

proto::Result<Link::Status> TlsLink::flush() {
  proto::Buffer& output = tls_.output();
  const std::size_t before = output.size();
  const auto status = transport_.send(output);
  bytes_out_ += before - output.size();
  if (status) return status;
  // Its end is ahead; what it sent before, data and ends of channels, comes first.
  output.clear();
  transport_.note(EPOLLHUP);
  transport_.again();
  return status.error();
}

Link::Status TlsLink::discard() {
  return transport_.discard(scratch_.cipher);
}

// ---- the peer ----

const proto::CertificateChain* TlsLink::peer_chain() const {
  return tls_.peer_chain() ? &*tls_.peer_chain() : nullptr;
}

Link::Counts TlsLink::counts() const {
  return {bytes_in_, bytes_out_, tls_.records_in(), tls_.records_out()};
}

}  // namespace connd::daemon
