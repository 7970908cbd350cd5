// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/peer/hostile_link.h"

#include <algorithm>

#include "proto/control.h"
#include "proto/jami_frame.h"

namespace connd::test {
namespace {

constexpr std::size_t kHighWater = 512 * 1024;
constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

std::string to_hex(proto::Bytes bytes) {
  std::string out;
  for (const std::uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

proto::ByteVector from_hex(std::string_view hex) {
  proto::ByteVector out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(kDigits.find(hex[i]) << 4 | kDigits.find(hex[i + 1])));
  }
  return out;
}

HostileLink::HostileLink(daemon::EdgePoller& poller, const proto::TlsContext& context, const proto::TlsPeer& peer,
                         daemon::IcePath path, std::function<void(const std::string&)> say)
    : say_(std::move(say)),
      tls_(context, path.controlling ? proto::TlsRole::kClient : proto::TlsRole::kServer, peer,
           proto::Framing::kRfc4571) {
  path_.early = std::move(path.early);
  transport_ = std::make_unique<daemon::IceTransport>(poller, std::move(path), *this);
}

void HostileLink::start_tls() {
  tls_on_ = true;
  if (const auto started = tls_.start(); !started) return down(started.error().message());
  if (!path_.early.empty()) take(path_.early);
  receive();
  pump();
}

void HostileLink::send_raw(proto::Bytes bytes) {
  const auto size = static_cast<std::uint16_t>(bytes.size());
  proto::ByteVector frame{static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size & 255)};
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  (void)tls_.output().append(frame);
  pump();
}

void HostileLink::send_plain(const proto::ByteVector& bytes, std::uint64_t times) {
  repeated_ = bytes;
  times_ = times;
  pump();
}

void HostileLink::pour(proto::WireId channel, std::uint64_t bytes, bool end) {
  pours_.push_back({channel, bytes, end});
  pump();
}

void HostileLink::pause(bool on) {
  paused_ = on;
  if (!on) receive();
}

void HostileLink::on_edge(std::uint32_t events) {
  if (down_) return;
  transport_->note(events);
  if (!paused_ && tls_on_) receive();
  // Before TLS only the end is looked for.
  if (!tls_on_ && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return down("the peer closed the connection");
  pump();
}

void HostileLink::receive() {
  while (!down_ && !paused_) {
    const auto status = transport_->receive(scratch_);
    if (!status) return down(status.error().message());
    for (;;) {
      const auto piece = transport_->next(tls_.output());
      if (!piece) return down(piece.error().message());
      if (!*piece) break;
      take(**piece);
      if (down_) return;
    }
    if (tls_.peer_closed() || *status == daemon::IceTransport::Status::kEnded) {
      return down("the peer closed the connection");
    }
    if (*status == daemon::IceTransport::Status::kBlocked) return;
  }
}

void HostileLink::take(proto::Bytes piece) {
  if (const auto fed = tls_.feed(piece); !fed) return down(fed.error().message() + " (" + tls_.error_detail() + ")");
  if (!up_ && tls_.handshake_done()) {
    up_ = true;
    say_("up");
  }
  proto::ByteVector plain(proto::TlsSession::kMaxRecordPlaintext);
  for (;;) {
    const auto n = tls_.read(plain);
    if (!n) return down(n.error().message());
    if (*n == 0) return;
    received_ += *n;
    if (!quiet_) say_("plain " + to_hex(proto::Bytes(plain).first(*n)));
    answer_pings(proto::Bytes(plain).first(*n));
  }
}

/// Reads all frames, from the first on; the answers go out with the next output.
void HostileLink::answer_pings(proto::Bytes plain) {
  while (!plain.empty()) {
    const auto piece = frames_.next(plain);
    if (!piece || !*piece) return;
    if (!lives_ || (*piece)->kind != proto::FramePiece::Kind::kControl) continue;
    const auto messages = proto::control::decode((*piece)->body);
    if (!messages) continue;
    for (const auto& message : *messages) {
      if (const auto* ping = std::get_if<proto::control::Ping>(&message)) pong(ping->number);
    }
  }
}

void HostileLink::pong(std::uint64_t number) {
  proto::ByteVector body;
  proto::control::encode(proto::control::Pong{number}, body);
  proto::ByteVector frame(proto::NativeFrameCodec::kHeaderBytes);
  frames_.write_header(frame.data(), proto::kControlChannel, body.size());
  frame.insert(frame.end(), body.begin(), body.end());
  if (const auto written = tls_.write(frame); !written) down(written.error().message());
}

void HostileLink::pump() {
  while (!down_) {
    while (tls_.output().size() < kHighWater && make_output()) {
    }
    if (down_) return;
    const bool last = times_ == 0 && !repeated_.empty();
    const auto status = transport_->send(tls_.output());
    if (!status) return down(status.error().message());
    if (*status == daemon::IceTransport::Status::kBlocked) return;
    if (last) {
      repeated_.clear();
      say_("sent");
    }
    if (times_ == 0 && pours_.empty()) return;
  }
}

/// One message more. False: there is none, or TLS takes none.
bool HostileLink::make_output() {
  if (times_ == 0) return pour_one();
  --times_;
  const auto written = tls_.write(repeated_);
  if (!written) down(written.error().message());
  return written.ok();
}

bool HostileLink::pour_one() {
  if (pours_.empty()) return false;
  Pour pour = pours_.front();
  pours_.pop_front();
  const std::size_t body = std::min<std::uint64_t>(pour.left, proto::kMaxFrameBody);
  proto::JamiFrameCodec codec;
  const std::size_t header = codec.header_bytes();
  proto::ByteVector message(header + body, kFill);
  codec.write_header(message.data(), pour.channel, body);
  for (std::size_t i = 0; i < std::min<std::size_t>(body, 8); ++i) {
    message[header + i] = static_cast<std::uint8_t>(pour.number >> (56 - 8 * i));
  }
  ++pour.number;
  pour.left -= body;
  // An empty message is EOF.
  const bool over = body == 0 || (pour.left == 0 && !pour.end);
  if (body > 0 || pour.end) {
    if (const auto written = tls_.write(message); !written) {
      down(written.error().message());
      return false;
    }
  }
  if (over) {
    say_("poured " + std::to_string(pour.channel));
  } else {
    pours_.push_back(pour);
  }
  return true;
}

void HostileLink::down(const std::string& why) {
  if (std::exchange(down_, true)) return;
  (void)transport_->send(tls_.output());  // an alert, if there is one
  transport_->end_output();
  say_("down " + why);
}

}  // namespace connd::test
