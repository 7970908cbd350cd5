// SPDX-License-Identifier: GPL-3.0-or-later
/// The yardstick: what this machine can do without a daemon. It uses OpenSSL by itself, not proto/, so that a change
/// there never moves what it is measured against.
#pragma once

#include <memory>

#include <openssl/ssl.h>

#include "ipc/fd.h"
#include "tools/bench/board.h"

namespace connd::bench {

struct SslCtxFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, SslCtxFree>;

/// TLS 1.3, with a fresh self-signed certificate that nobody checks.
SslCtxPtr make_tls_context();

struct SocketPair {
  ipc::Fd first, second;
};
SocketPair unix_pair();
/// Two ends of one TCP connection over the loopback interface.
SocketPair tcp_pair();

/// The bodies of processes; they run until they are killed.
///
/// A relay: plain bytes at `app`, TLS 1.3 records of 16 KiB at `net`, both directions, in one thread; reads of 256 KiB;
/// OpenSSL works on memory.
void run_relay(ipc::Fd app, ipc::Fd net, SSL_CTX* context, bool client);
/// Plain TCP and TLS, without relays: one that sends for ever, and one that counts on the board.
void run_tls_sender(ipc::Fd net, SSL_CTX* context);
void run_tls_taker(ipc::Fd net, SSL_CTX* context, Board& board);

}  // namespace connd::bench
