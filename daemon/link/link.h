// SPDX-License-Identifier: GPL-3.0-or-later
/// Link: an authenticated, encrypted stream of bytes with one peer device, whatever carries it. It proves who the peer
/// is, and knows nothing of frames, channels or why the stream is wanted.
///
/// The owner's round is
///   Owner::link_ready(readable) -> receive() -> Owner::link_plain ... -> write() while unsent() is low -> flush().
/// A kind of link is one class; those that carry TLS over a TCP connection are TlsLink. What another kind has to keep
/// to, and the tests of the owner prove with a link of their own (tests/daemon/multiplexed_socket_test.cpp), is below.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/tls_session.h"

namespace connd::daemon {

/// Read buffers that all links share: one thread, and nothing stays in them beyond one call.
struct PumpScratch {
  /// NOTES, "Throughput": reads of 64 KiB cost a fifth of the speed.
  static constexpr std::size_t kBytes = 256 * 1024;
  proto::ByteVector cipher = proto::ByteVector(kBytes);
  /// Plaintext of everything that one read can complete, the record that was waiting included.
  proto::ByteVector plain = proto::ByteVector(kBytes + proto::TlsSession::kMaxRecordPlaintext);
};

/// Lives on the loop's thread. An error of any function but flush() and discard() is final: of the link nothing is to
/// be had any more but the sending of what it has to say about the error (flush).
class Link {
 public:
  enum class Status {
    kMore,     ///< there may be more
    kBlocked,  ///< nothing more now; Owner::link_ready tells when
    kEnded,    ///< the peer has ended the stream, and nothing is missing of it
  };

  /// Who is told. It outlives the link, and does not destroy it from inside these calls.
  class Owner {
   public:
    /// Something has changed: there may be something to receive, or room to flush. In a turn of its own; a hint, given
    /// once: an owner that stops before kBlocked goes on by itself, or asks with again().
    virtual void link_ready(bool readable, bool writable) = 0;
    /// The peer is who it should be, and may be written to. Once, from inside receive() or start(), before any plain
    /// byte. An error comes back from there.
    virtual proto::Result<void> link_secured() = 0;
    /// Bytes have come that are the peer's, be they part of a record that cannot be read yet.
    virtual void link_heard() = 0;
    /// The next bytes of the stream, valid during the call. From inside receive(), or start(). An error comes back from
    /// there.
    virtual proto::Result<void> link_plain(proto::Bytes plain) = 0;

   protected:
    ~Owner() = default;
  };

  /// How what was sent gets on.
  struct Delivery {
    bool complete = true;            ///< the peer's machine has it all, also where that is not known
    std::uint64_t acknowledged = 0;  ///< bytes that it has, ever; 0 where that is not known
  };
  struct Counts {
    std::uint64_t bytes_in = 0;  ///< of the stream as it is carried: ciphertext, framing included
    std::uint64_t bytes_out = 0;
    std::uint64_t records_in = 0;  ///< of application data
    std::uint64_t records_out = 0;
  };
  /// Where it goes, for people and for what follows the machine's addresses.
  struct Path {
    std::string local, remote;  ///< "ip:port"
    std::string kind = "host";  ///< how it came about: host, mapped, punched, relayed
  };

  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  /// Begins the handshake; once, in the turn that made the link.
  virtual proto::Result<void> start(Owner& owner) = 0;

  // ---- in ----

  /// Takes at most about `most` bytes (1 to PumpScratch::kBytes) of what has come, and gives the owner what can be read
  /// of it, what was good before an error included. kTlsTruncated: the stream has ended, and the peer had not said so.
  virtual proto::Result<Status> receive(std::size_t most) = 0;
  /// Asks for link_ready(readable) in the next turn.
  virtual void again() = 0;

  // ---- out ----

  /// Takes all of `plain`, which goes out in order. Secured only, and not after close(). At least
  /// proto::Mux::kOutputTarget bytes are taken while unsent() is below that. Errors: kTooLong, nothing was taken.
  virtual proto::Result<void> write(proto::Bytes plain) = 0;
  /// Bytes, as they are carried, that were taken and could not be sent yet. Whoever writes on only while it is low
  /// keeps what is urgent near the front.
  [[nodiscard]] virtual std::size_t unsent() const = 0;
  /// Sends as much as can be sent now. kMore: all of it. An error: nothing will be sent any more, and what was not is
  /// dropped; what the peer had sent before can still be received, and link_ready comes for it.
  virtual proto::Result<Status> flush() = 0;
  /// The peer has acknowledged all that was written, and nothing of its own lies here unread.
  [[nodiscard]] virtual bool quiet() const = 0;
  [[nodiscard]] virtual Delivery delivery() const = 0;

  // ---- the end ----

  /// Our direction is complete: the peer is told so behind all that was written. Again: changes nothing.
  virtual void close() = 0;
  /// The peer has told us that.
  [[nodiscard]] virtual bool peer_closed() const = 0;
  /// After close(), and when flush() has sent all: nothing is sent any more. Again: changes nothing.
  virtual void end_output() = 0;
  /// Takes for nobody what comes. kEnded also when the link is broken.
  virtual Status discard() = 0;

  // ---- time ----

  /// When on_deadline() is due, kNever: not at all. Changes with each call of start, receive, write, flush, close and
  /// on_deadline.
  [[nodiscard]] virtual proto::TimePoint next_deadline() const { return proto::kNever; }
  /// Then call flush().
  virtual proto::Result<void> on_deadline(proto::TimePoint /*now*/) { return {}; }
  /// The shortest round trip seen, very long where it is not known.
  [[nodiscard]] virtual std::chrono::microseconds round_trip() const = 0;

  // ---- for a peer whose dialect has neither keepalive nor credit ----

  /// From now on the link itself finds out, in about one and a half times `idle`, that the peer's machine is gone.
  virtual void watch_silence(std::chrono::seconds idle) = 0;
  /// Bounds what is taken from the peer while nobody receives, where more would be taken.
  virtual void limit_unread() = 0;

  // ---- the peer ----

  /// The peer uses this link, too: what was kept for the case that it would not may go.
  virtual void agreed() {}
  /// Who it is, or must prove to be.
  [[nodiscard]] virtual const proto::DeviceId& peer() const = 0;
  /// Its verified chain; null before it was verified.
  [[nodiscard]] virtual const proto::CertificateChain* peer_chain() const = 0;
  /// This side is TLS's client.
  [[nodiscard]] virtual bool client() const = 0;
  /// The peer is a jami-connd; meaningful once secured.
  [[nodiscard]] virtual bool native() const = 0;
  /// As TlsSession::export_secret.
  [[nodiscard]] virtual bool export_secret(std::string_view label, proto::MutableBytes out) const = 0;
  [[nodiscard]] virtual const Path& path() const = 0;
  [[nodiscard]] virtual Counts counts() const = 0;
  /// More words about the error, for logs; no secrets. Empty when there are none.
  [[nodiscard]] virtual const std::string& error_detail() const = 0;
};

}  // namespace connd::daemon
