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

/// A sender that can send does: after this long without a byte it keeps others from their turn.
inline constexpr std::chrono::seconds kMaxSilence{60};
/// But its files take turns on its connection, which may be slow. Each has had one when all the others have brought
/// this: 256 (ctl_receive.cpp) times a frame of 64 KiB, and as much of new files that go first.
inline constexpr std::uint64_t kTurnsBytes = std::uint64_t{32} << 20;

/// What all files of one sender bring.
struct SenderPulse {
  FileTransfer::Clock::time_point last{};  ///< when the last bytes were read
  std::uint64_t bytes = 0;
};

class IncomingFile : public FileTransfer {
 public:
  /// `directory` and `sender` live longer; `scratch`, of kFileChunkBytes, is used in `run` and `check_silence` only.
  IncomingFile(ipc::ChannelSocket channel, FilePath path, const ReceiveDir& directory, proto::MutableBytes scratch,
               SenderPulse& sender);

  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
  /// When it is given up if no more comes; max() while it is not the sender's turn to speak.
  [[nodiscard]] Clock::time_point silent_at() const;
  /// Gives it up if that time has come.
  void check_silence(Clock::time_point now);
  /// The whole file, once, when it waits to be committed; else null.
  [[nodiscard]] std::unique_ptr<NewFile> take_whole();
  /// It was committed, or why not.
  void on_committed(MaybeProblem problem);
  /// This side was told to stop: a file that is not decided is given up, and the sender told.
  void interrupt();

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
  void refuse(FileProblem problem);
  void answer(const FileAnswer& answer);
  void on_broken(const ipc::ChannelEnd* end) override;

  const ReceiveDir& directory_;
  proto::MutableBytes scratch_;
  SenderPulse& sender_;
  Clock::time_point heard_ = Clock::now();  // when its last bytes were read, or it was begun
  std::uint64_t heard_at_;                  // the sender's bytes then
  Stage stage_ = Stage::kHeader;
  proto::ByteVector small_;  // header or sum, as far as it has come
  std::unique_ptr<NewFile> file_;
  Sha256 hash_;
};

}  // namespace connd::tools
