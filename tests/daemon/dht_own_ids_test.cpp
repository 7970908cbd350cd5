// SPDX-License-Identifier: GPL-3.0-or-later
// FAULTS A1: a value without owner that is put under the id of a signed one ends OpenDHT 2.4.12. Which ids our own
// signed values have the client tells the gate, for OpenDHT stores those before it sends them to anybody.
#include <poll.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "ipc/fd.h"
#include "proto/dht_limits.h"
#include "proto/dht_msgpack.h"
#include "tests/daemon/dht_peers.h"
#include "tests/proto/dht_messages.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;
using proto::MsgpackItem;

namespace {

/// Somebody with a socket.
class Somebody {
 public:
  explicit Somebody(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  }
  void say(proto::Bytes bytes) {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  /// The next datagram, if one comes in time.
  proto::ByteVector hear(milliseconds within) {
    pollfd wanted{fd_.get(), POLLIN, 0};
    proto::ByteVector out(proto::kMaxDhtDatagram);
    const bool came = ::poll(&wanted, 1, static_cast<int>(within.count())) == 1;
    const ssize_t size = came ? ::recv(fd_.get(), out.data(), out.size(), 0) : 0;
    out.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return out;
  }

 private:
  ipc::Fd fd_;
};

/// The numbers in `v` of `fileds`: ids of values, as they are told to who asks for these alone.
std::vector<std::uint64_t> ids_in(const proto::ByteVector& answer) {
  const std::string_view text = proto::as_text(answer);
  const std::size_t at = text.find("\xa1v", text.find("\xa6"
                                                      "fileds"));
  std::vector<std::uint64_t> out;
  if (text.find("\xa6"
                "fileds") == std::string_view::npos ||
      at == std::string_view::npos)
    return out;
  proto::MsgpackReader in(proto::Bytes(answer).subspan(at + 2));
  for (std::uint64_t n = in.next().number; n > 0 && !in.failed(); --n) out.push_back(in.next().number);
  return out;
}

}  // namespace

TEST_CASE("fault A1: nothing comes upon what the client itself has signed, though it has sent it to nobody") {
  Loop loop;
  DhtConfig config = config_of(device(0), {});
  config.announcement = sign_announcement(pem_of(*account().first), config.certificate_chain_pem);
  const Peer peer(loop, config);
  Somebody eve(peer.client->status().port4);
  const dht::InfoHash key = account().first->getPublicKey().getId();

  // It is stored on OpenDHT's thread: asked for until it is there.
  std::vector<std::uint64_t> ids;
  for (std::uint32_t tid = 1; ids.empty() && tid < 200; ++tid) {
    proto::test::Pack p = proto::test::id_map(3, 0x33);
    p.str("h").bin({key.data(), key.size()}).str("q").map(2).str("s").array(1).uint(1).str("w").array(0);
    eve.say(proto::test::query("get", p, tid));
    ids = ids_in(eve.hear(milliseconds(100)));
  }
  REQUIRE(ids.size() == 1);

  const std::uint64_t before = peer.client->status().gate.refused_values;
  const auto put = [&](std::uint64_t id) {
    proto::test::Pack p = proto::test::id_map(4, 0x33);
    p.str("h").bin({key.data(), key.size()}).str("token").bin(proto::test::bytes_of(32, 1));
    p.str("values").array(1).add(proto::test::plain_value(id, 4));
    const std::uint64_t received = peer.client->status().gate.received;
    eve.say(proto::test::query("put", p, 500));
    REQUIRE(run_until(loop, [&] { return peer.client->status().gate.received > received; }));
  };
  put(ids[0] + 1);
  CHECK(peer.client->status().gate.refused_values == before);
  put(ids[0]);
  CHECK(peer.client->status().gate.refused_values == before + 1);
}
