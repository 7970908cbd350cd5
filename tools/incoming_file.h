// SPDX-License-Identifier: GPL-3.0-or-later
/// IncomingFile: one file on its way from a peer: header, content and sum are read, the file is written under a hidden
/// name and, once it is whole and on the disk, answered for. What goes wrong is answered too, in words.
#pragma once

#include <memory>

#include "tools/file_transfer.h"
#include "tools/receive_dir.h"
#include "tools/sha256.h"

namespace connd::tools {

class IncomingFile : public FileTransfer {
 public:
  /// `directory` lives longer; `scratch`, of kFileChunkBytes, is used in `run` only.
  IncomingFile(ipc::ChannelSocket channel, FilePath path, const ReceiveDir& directory, proto::MutableBytes scratch);

  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
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
  Stage stage_ = Stage::kHeader;
  proto::ByteVector small_;  // header or sum, as far as it has come
  std::unique_ptr<NewFile> file_;
  Sha256 hash_;
};

}  // namespace connd::tools
