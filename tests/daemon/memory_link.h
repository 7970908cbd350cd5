// SPDX-License-Identifier: GPL-3.0-or-later
/// MemoryLink: a link in memory, for tests of what stands on links: it can be slow, take little, come in pieces, send
/// only when its time has come, and be cut at any byte.
#pragma once

#include <array>
#include <deque>
#include <limits>
#include <memory>
#include <optional>

#include "daemon/event_loop/loop.h"
#include "daemon/link/link.h"

namespace connd::test {

class MemoryLink;

/// What joins two MemoryLinks. It outlives neither's use of it: both hold it.
class MemoryWire {
 public:
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
  struct Options {
    std::size_t piece = kNever;               ///< bytes that arrive at a time, each way
    proto::Duration delay{};                  ///< between pieces
    std::size_t room = std::size_t{1} << 20;  ///< bytes that may be under way, each way
    bool paced = false;                       ///< sends `piece` at a time, when its deadline has come
    bool native = true;
    std::array<std::size_t, 2> cut{kNever, kNever};  ///< the link breaks when the end with this index has got so many
  };
  MemoryWire(daemon::Loop& loop, const Options& options);

  /// What an end's owner has asked of its link.
  struct Asked {
    std::chrono::seconds silence{};
    bool limited = false;
    bool agreed = false;
    bool output_ended = false;
  };
  [[nodiscard]] const Asked& asked(std::size_t end) const { return asked_[end]; }
  [[nodiscard]] std::size_t arrived(std::size_t end) const { return total_[end]; }
  [[nodiscard]] std::size_t most_unsent() const { return most_unsent_; }

 private:
  friend class MemoryLink;
  void carry();
  void break_now();

  const Options options_;
  std::array<MemoryLink*, 2> ends_{};
  std::array<std::deque<std::uint8_t>, 2> flight_;  ///< to that end
  std::array<std::deque<std::uint8_t>, 2> here_;    ///< arrived there, not received
  std::array<std::size_t, 2> total_{};
  std::array<bool, 2> close_sent_{};
  std::array<bool, 2> closed_{};  ///< that end has closed, and all of it has arrived
  std::array<Asked, 2> asked_;
  bool broken_ = false;
  std::size_t most_unsent_ = 0;
  daemon::Timer timer_;
};

class MemoryLink final : public daemon::Link {
 public:
  /// The client is end 0.
  MemoryLink(daemon::Loop& loop, std::shared_ptr<MemoryWire> wire, bool client, const proto::DeviceId& peer);
  ~MemoryLink() override;

  proto::Result<void> start(Owner& owner) override;
  proto::Result<Status> receive(std::size_t most) override;
  void again() override;
  proto::Result<void> write(proto::Bytes plain) override;
  [[nodiscard]] std::size_t unsent() const override { return out_.size(); }
  proto::Result<Status> flush() override;
  [[nodiscard]] bool quiet() const override;
  [[nodiscard]] Delivery delivery() const override;
  void close() override { closing_ = true; }
  [[nodiscard]] bool peer_closed() const override { return peer_closed_; }
  void end_output() override { asked().output_ended = true; }
  Status discard() override;
  [[nodiscard]] proto::TimePoint next_deadline() const override { return deadline_; }
  proto::Result<void> on_deadline(proto::TimePoint now) override;
  [[nodiscard]] std::chrono::microseconds round_trip() const override { return std::chrono::microseconds::max(); }
  void watch_silence(std::chrono::seconds idle) override { asked().silence = idle; }
  void limit_unread() override { asked().limited = true; }
  void agreed() override { asked().agreed = true; }
  [[nodiscard]] const proto::DeviceId& peer() const override { return peer_; }
  [[nodiscard]] const proto::CertificateChain* peer_chain() const override { return nullptr; }
  [[nodiscard]] bool client() const override { return end_ == 0; }
  [[nodiscard]] bool native() const override { return wire_->options_.native; }
  [[nodiscard]] bool export_secret(std::string_view, proto::MutableBytes) const override { return false; }
  [[nodiscard]] const Path& path() const override { return path_; }
  [[nodiscard]] Counts counts() const override { return {in_, sent_, 0, 0}; }
  [[nodiscard]] const std::string& error_detail() const override { return detail_; }

 private:
  friend class MemoryWire;
  void notify(bool readable, bool writable);
  void make_room();
  MemoryWire::Asked& asked() { return wire_->asked_[end_]; }

  daemon::Loop& loop_;
  const std::shared_ptr<MemoryWire> wire_;
  const std::size_t end_;
  const proto::DeviceId peer_;
  const Path path_{"here", "there"};
  const std::string detail_;
  Owner* owner_ = nullptr;
  bool secured_ = false;
  bool closing_ = false;
  bool peer_closed_ = false;
  std::deque<std::uint8_t> out_;
  std::size_t allowed_ = 0;  ///< to be sent, when paced
  proto::TimePoint deadline_ = proto::kNever;
  std::uint64_t in_ = 0;
  std::uint64_t sent_ = 0;
  daemon::Timer wake_;
  bool wake_readable_ = false;
  bool wake_writable_ = false;
};

}  // namespace connd::test
