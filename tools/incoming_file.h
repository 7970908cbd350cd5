// SPDX-License-Identifier: GPL-3.0-or-later
/// IncomingFile: one file on its way from a peer: header, content and sum are read, the file is written under a hidden
/// name and, once it is whole and on the disk, answered for. What goes wrong is answered too, in words.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "tools/file_transfer.h"
#include "tools/receive_dir.h"
#include "tools/sha256.h"

namespace connd::tools {

/// A step: what is less in kPatience is no progress. That is 109 bytes a second, a hundredth of the slowest telephone.
inline constexpr std::uint64_t kStepBytes = std::uint64_t{64} << 10;
/// So long a file, and all others of its sender, may go without a step: a sender may be stopped, asleep or out of reach
/// for a while, and go on.
inline constexpr std::chrono::seconds kPatience{600};
/// The same of a file alone, when another peer waits for its place.
inline constexpr std::chrono::seconds kPatienceIfWanted{60};
/// A sender's files take turns on its connection, which may be slow. Each has had one when all the others have brought
/// this: 256 (ctl_receive.cpp) times a frame of 64 KiB, and as much of new files that go first.
inline constexpr std::uint64_t kTurnsBytes = std::uint64_t{32} << 20;

/// What all files of one sender bring.
struct SenderPulse {
  FileTransfer::Clock::time_point stepped{};  ///< when they had brought a step since the one before
  std::uint64_t bytes = 0;
  std::uint64_t stepped_at = 0;  ///< `bytes` then
};

/// What is taken, of all senders together.
struct Allowance {
  std::uint64_t file_bytes = UINT64_MAX;   ///< of one file
  std::uint64_t total_bytes = UINT64_MAX;  ///< of all files that came or are coming
  std::uint64_t taken = 0;                 ///< so far; what failed is given back
};

class IncomingFile : public FileTransfer {
 public:
  /// What it needs of its receiver, all of which lives longer.
  struct Receiver {
    const ReceiveDir& directory;
    proto::MutableBytes scratch;  ///< of kFileChunkBytes, used in `run` and the like only
    Allowance& allowance;
  };
  IncomingFile(ipc::ChannelSocket channel, FilePath path, const Receiver& receiver, SenderPulse& sender);
  ~IncomingFile() override;

  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
  /// When it is given up if it makes no step; max() while it is not the sender's turn to speak.
  [[nodiscard]] Clock::time_point late_at() const;
  /// Gives it up if that time has come.
  void check_late(Clock::time_point now);
  /// Since when it has made no step; max() as above.
  [[nodiscard]] Clock::time_point stepped() const;
  /// Gives it up: another peer waits for its place, and kPatienceIfWanted has passed.
  void give_place();
  /// This side has slept for so long: no sender's fault.
  void forgive(Clock::duration time) { stepped_ += time; }
  /// The whole file, once, when it waits to be committed; else null.
  [[nodiscard]] std::unique_ptr<NewFile> take_whole();
  /// It was committed, or why not.
  void on_committed(MaybeProblem problem);
  /// This side stops: a file that is not decided is given up, and the sender told why.
  void interrupt(FileProblem why);

 private:
  enum class Stage { kHeader, kContent, kSum, kWhole, kCommitting, kAnswered };
  void work(const PollSet& set);
  /// Reads at most `most` bytes to `into`; 0 when there are none, or the sender has ended.
  std::size_t receive(std::uint8_t* into, std::size_t most);
  std::size_t step();
  std::size_t step_header();
  std::size_t step_content();
  std::size_t step_sum();
  void on_header(const FileHeader& header);
  void check_sum();
  void refuse_late(const char* why, std::chrono::seconds patience);
  void refuse(FileProblem problem);
  [[nodiscard]] MaybeProblem take_bytes(std::uint64_t bytes);
  void give_back();
  [[nodiscard]] bool speaks() const { return !over() && !ending() && stage_ < Stage::kWhole; }
  void answer(const FileAnswer& answer);
  void on_broken(const ipc::ChannelEnd* end) override;

  Receiver receiver_;
  SenderPulse& sender_;
  Clock::time_point stepped_ = Clock::now();  // when it had brought a step since the one before, or was begun
  std::uint64_t since_step_ = 0;              // its bytes since then
  std::uint64_t sender_at_;                   // the sender's bytes then
  std::uint64_t held_ = 0;                    // of the allowance
  Stage stage_ = Stage::kHeader;
  proto::ByteVector small_;  // header or sum, as far as it has come
  std::unique_ptr<NewFile> file_;
  Sha256 hash_;
};

/// What a person at this side can do about a file that was not taken; nothing: "".
const char* receiver_hint(FileCode code);

}  // namespace connd::tools
