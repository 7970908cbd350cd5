// SPDX-License-Identifier: GPL-3.0-or-later
/// RawDevice: a peer of the nodes of a world whose frames a test writes byte by byte: real ICE, real TLS, and nothing
/// above them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/control.h"
#include "proto/frame.h"
#include "tests/daemon/manager_node.h"
#include "tests/peer/hostile_link.h"

namespace connd::test {

class RawDevice {
 public:
  /// One connection, as it looks from here.
  struct Wire {
    std::unique_ptr<daemon::IceAgent> agent;
    std::unique_ptr<HostileLink> link;
    proto::ByteVector plain;  ///< all that came
    bool up = false;
    bool down = false;

    void send(const proto::ByteVector& bytes) { link->send_plain(bytes, 1); }
    /// One control frame of these.
    void say(const std::vector<proto::control::Message>& messages);
    void data(proto::WireId channel, const std::string& bytes);
    /// What has come so far, by frames: an EOF is a piece of kEnd, control frames are in `messages`.
    struct Come {
      std::vector<proto::control::Message> messages;
      std::vector<proto::WireId> ends;
      std::string data;
    };
    [[nodiscard]] Come come() const;
    template <class T>
    [[nodiscard]] std::vector<T> all() const {
      std::vector<T> found;
      for (const auto& message : come().messages) {
        if (const auto* m = std::get_if<T>(&message)) found.push_back(*m);
      }
      return found;
    }
  };

  RawDevice(Exchange& exchange, std::size_t identity);
  ~RawDevice();

  /// Asks for a connection, as caller: TLS server. Ids from 0x8000 on are ours.
  Wire& call(Node& node);
  /// Takes what `node` asks for next, as callee.
  Wire& answer_next(Node& node);
  /// `wire` is up, and hellos are exchanged.
  void greet(Wire& wire);

  bool says_hand_over = true;  ///< else a caller stays silent when its path is there
  const proto::DeviceId id;
  const proto::ByteVector public_key;
  World& world;

 private:
  void on_message(const daemon::SignalMessage& message);
  void begin(Wire& wire, std::uint64_t request, bool callee);
  void tell(Node& node, std::uint64_t request, const std::string& ice_text, bool is_answer);

  Exchange& exchange_;
  proto::TlsContext tls_;
  std::vector<std::unique_ptr<Wire>> wires_;
  Node* node_ = nullptr;
  Wire* asked_ = nullptr;    ///< our request is out
  Wire* answers_ = nullptr;  ///< takes the next request
  std::uint64_t request_ = 0;
};

}  // namespace connd::test
