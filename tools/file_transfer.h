// SPDX-License-Identifier: GPL-3.0-or-later
/// FileTransfer: what one file's channel has in common at both ends: how it goes, and how it ends (tools/FILES.md).
///
/// A transfer is *decided* once it is known whether the file is whole at the receiver, and *over* when its channel has
/// ended too. A channel that breaks before anything is decided decides it: the file is not there.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "ipc/client.h"
#include "tools/file_name.h"
#include "tools/file_wire.h"
#include "tools/poll_set.h"
#include "tools/rate_meter.h"

namespace connd::tools {

/// Bytes moved in one go: larger ones gain nothing, smaller ones cost (NOTES: 16 KiB reads 0.59, 64 KiB 0.8).
inline constexpr std::size_t kFileChunkBytes = std::size_t{256} << 10;
/// How long the other side may take to end a channel on which all is said.
inline constexpr std::chrono::seconds kEndWait{5};

/// Why a file did not get there.
struct FileFailure {
  std::string text;                             ///< without the file's name
  ipc::Reason reason = ipc::Reason::kInternal;  ///< gives the exit code
  std::string detail{};                         ///< the other side's words
  std::string hint{};                           ///< what to do; empty: the usual advice for the reason
  bool local = false;                           ///< this side's own files are at fault: no reason to show, exit code 1
};

class FileTransfer {
 public:
  using Clock = PollSet::Clock;

  explicit FileTransfer(FilePath path) : path_(std::move(path)) {}
  virtual ~FileTransfer() = default;
  FileTransfer(const FileTransfer&) = delete;
  FileTransfer& operator=(const FileTransfer&) = delete;

  virtual void prepare(PollSet& set) = 0;
  virtual void run(const PollSet& set) = 0;

  [[nodiscard]] const FilePath& path() const { return path_; }
  [[nodiscard]] bool decided() const { return decided_; }
  /// True once, the first time that it is asked after it was decided.
  [[nodiscard]] bool take_decided() { return decided_ && !std::exchange(told_, true); }
  [[nodiscard]] bool over() const { return over_; }
  /// Once decided: none if the file is there.
  [[nodiscard]] const std::optional<FileFailure>& failure() const { return failure_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t moved() const { return moved_; }  ///< bytes of content
  [[nodiscard]] const RateMeter& rate() const { return rate_; }
  [[nodiscard]] Clock::time_point begun() const { return begun_; }
  [[nodiscard]] const FileSum& sum() const { return sum_; }  ///< once all content has moved
  [[nodiscard]] const std::optional<ipc::ChannelSocket>& channel() const { return channel_; }
  /// Ends the channel now, without a word: the other side sees a reset. Decides nothing.
  void abort();

 protected:
  void succeed() { decided_ = true; }
  /// The first failure counts.
  void fail(FileFailure failure);
  void moved_more(std::size_t bytes);
  /// All is said: ends our direction, then waits for the other's end, or closes at once if the peer knows no half.
  void end(bool close_now);
  [[nodiscard]] bool ending() const { return ending_; }
  void prepare_end(PollSet& set);
  void run_end(const PollSet& set);
  /// The channel has ended, or is of no more use: what that means for a file that was not decided.
  virtual void on_broken(const ipc::ChannelEnd* end) = 0;
  void over_now() { over_ = true; }
  [[nodiscard]] static FileFailure failure_of(const ipc::ChannelEnd& end, std::string text);

  std::optional<ipc::ChannelSocket> channel_;
  std::uint64_t size_ = 0;
  FileSum sum_{};
  PollSet::Index index_ = PollSet::kNone;

 private:
  void drain();

  FilePath path_;
  bool decided_ = false;
  bool told_ = false;
  bool ending_ = false;
  bool over_ = false;
  std::optional<FileFailure> failure_;
  std::uint64_t moved_ = 0;
  RateMeter rate_;
  Clock::time_point begun_ = Clock::now();
  Clock::time_point end_by_{};
};

}  // namespace connd::tools
