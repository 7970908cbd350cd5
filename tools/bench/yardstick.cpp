// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/bench/yardstick.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include "proto/bytes.h"
#include "tools/bench/child.h"

namespace connd::bench {
namespace {

using proto::Bytes;
using proto::ByteVector;
using proto::MutableBytes;

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kRecordBytes = 16 * 1024;
constexpr std::size_t kMaxOutput = 2 * kReadBytes;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

void check(bool good, const char* what) {
  if (!good) throw Failure(std::string("yardstick: ") + what);
}

/// One end of a TLS connection over memory: input is read where it lies, output is gathered in one buffer.
class TlsEnd {
 public:
  TlsEnd(SSL_CTX* context, bool client) : ssl_(SSL_new(context)) {
    BIO* bio = BIO_new(method());
    check(ssl_ != nullptr && bio != nullptr, "OpenSSL has no memory");
    BIO_set_data(bio, this);
    SSL_set_bio(ssl_.get(), bio, bio);
    client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
  }

  /// Blocks until the handshake is done. Data that came with its end waits for read().
  void shake_hands(int net) {
    early_.resize(kReadBytes);
    while (SSL_do_handshake(ssl_.get()) != 1) {
      send_all(net);
      const ssize_t n = ::recv(net, early_.data(), early_.size(), 0);
      check(n > 0, "no handshake");
      input_ = Bytes(early_).first(static_cast<std::size_t>(n));
    }
    send_all(net);
  }

  void feed(Bytes cipher) { input_ = cipher; }
  /// Decrypts until the input is used up, or `plain` is full.
  std::size_t read(MutableBytes plain) {
    std::size_t total = 0;
    while (total < plain.size()) {
      std::size_t got = 0;
      if (SSL_read_ex(ssl_.get(), plain.data() + total, plain.size() - total, &got) != 1) {
        check(SSL_get_error(ssl_.get(), 0) == SSL_ERROR_WANT_READ, "TLS failed");
        break;
      }
      total += got;
    }
    return total;
  }
  void write(Bytes plain) {
    std::size_t written = 0;
    check(SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) == 1, "TLS failed");
  }
  proto::Buffer& output() { return output_; }
  void send_all(int net) {
    while (!output_.empty()) {
      const ssize_t n = ::send(net, output_.data().data(), output_.size(), MSG_NOSIGNAL);
      check(n > 0, "send failed");
      output_.consume(static_cast<std::size_t>(n));
    }
  }

 private:
  static int bio_read(BIO* bio, char* out, std::size_t size, std::size_t* taken) {
    Bytes& input = static_cast<TlsEnd*>(BIO_get_data(bio))->input_;
    BIO_clear_retry_flags(bio);
    *taken = std::min(size, input.size());
    if (*taken == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    std::memcpy(out, input.data(), *taken);
    input = input.subspan(*taken);
    return 1;
  }
  static int bio_write(BIO* bio, const char* in, std::size_t size, std::size_t* written) {
    auto& output = static_cast<TlsEnd*>(BIO_get_data(bio))->output_;
    if (!output.append({reinterpret_cast<const std::uint8_t*>(in), size})) return 0;
    *written = size;
    return 1;
  }
  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bench memory");
      BIO_meth_set_read_ex(m, bio_read);
      BIO_meth_set_write_ex(m, bio_write);
      BIO_meth_set_ctrl(m, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
      BIO_meth_set_create(m, [](BIO* bio) {
        BIO_set_init(bio, 1);
        return 1;
      });
      return m;
    }();
    return made;
  }

  Bytes input_;
  ByteVector early_;
  proto::Buffer output_{kMaxOutput};
  std::unique_ptr<SSL, SslFree> ssl_;
};

void set_nonblocking(int fd) {
  check(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

/// Sends from the front of `buffer` what the socket takes.
void drain(int fd, proto::Buffer& buffer) {
  while (!buffer.empty()) {
    const ssize_t n = ::send(fd, buffer.data().data(), buffer.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    check(n > 0, "the other end has gone");
    buffer.consume(static_cast<std::size_t>(n));
  }
}

/// One read; 0 when there is nothing.
std::size_t read_some(int fd, MutableBytes room) {
  const ssize_t n = ::recv(fd, room.data(), room.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  check(n > 0, "the other end has gone");
  return static_cast<std::size_t>(n);
}

}  // namespace

SslCtxPtr make_tls_context() {
  SslCtxPtr context(SSL_CTX_new(TLS_method()));
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(X509_new(), X509_free);
  check(context && key && certificate, "OpenSSL has no memory");
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 86'400);
  check(X509_set_pubkey(certificate.get(), key.get()) == 1 &&
            X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0 &&
            SSL_CTX_use_certificate(context.get(), certificate.get()) == 1 &&
            SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1 &&
            SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
            SSL_CTX_set_num_tickets(context.get(), 0) == 1,
        "no certificate");
  return context;
}

SocketPair unix_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) fail_with_errno("socketpair");
  return {ipc::Fd(fds[0]), ipc::Fd(fds[1])};
}

SocketPair tcp_pair() {
  const ipc::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  SocketPair pair{ipc::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  if (::bind(listener.get(), raw, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), raw, &size) != 0 || ::connect(pair.first.get(), raw, size) != 0) {
    fail_with_errno("TCP over loopback");
  }
  pair.second.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int on = 1;
  for (const int fd : {pair.first.get(), pair.second.get()}) {
    if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail_with_errno("TCP_NODELAY");
  }
  return pair;
}

void run_relay(ipc::Fd app, ipc::Fd net, SSL_CTX* context, bool client) {
  TlsEnd tls(context, client);
  tls.shake_hands(net.get());
  set_nonblocking(app.get());
  set_nonblocking(net.get());
  ByteVector scratch(kReadBytes);
  proto::Buffer to_app(kReadBytes + kRecordBytes);  // what one read completes, the record that was waiting included
  to_app.commit(tls.read(to_app.prepare(to_app.max_bytes())));
  const auto events = [](bool in, bool out) { return static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0)); };
  for (;;) {
    const bool app_idle = to_app.empty();
    const bool net_idle = tls.output().empty();
    pollfd polled[] = {{app.get(), events(net_idle, !app_idle), 0}, {net.get(), events(app_idle, !net_idle), 0}};
    if (::poll(polled, 2, -1) < 0 && errno != EINTR) fail_with_errno("poll");
    if (app_idle && (polled[1].revents & ~POLLOUT) != 0) {
      tls.feed(Bytes(scratch).first(read_some(net.get(), scratch)));
      to_app.commit(tls.read(to_app.prepare(to_app.max_bytes())));
    }
    drain(app.get(), to_app);
    if (net_idle && (polled[0].revents & ~POLLOUT) != 0) {
      if (const std::size_t n = read_some(app.get(), scratch)) tls.write(Bytes(scratch).first(n));
    }
    drain(net.get(), tls.output());
  }
}

void run_tls_sender(ipc::Fd net, SSL_CTX* context) {
  TlsEnd tls(context, true);
  tls.shake_hands(net.get());
  const ByteVector block(kReadBytes, 0x5a);
  for (;;) {
    tls.write(block);
    tls.send_all(net.get());
  }
}

void run_tls_taker(ipc::Fd net, SSL_CTX* context, Board& board) {
  TlsEnd tls(context, false);
  tls.shake_hands(net.get());
  ByteVector cipher(kReadBytes);
  ByteVector plain(kReadBytes + kRecordBytes);
  for (;;) {
    board.taken[0] += tls.read(plain);
    tls.feed(Bytes(cipher).first(read_some(net.get(), cipher)));
  }
}

}  // namespace connd::bench
