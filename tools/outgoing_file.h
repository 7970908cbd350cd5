// SPDX-License-Identifier: GPL-3.0-or-later
/// OutgoingFile: one file on its way to a peer: its channel is opened, header, content and sum are sent, the answer is
/// waited for. A file that is not what it was when it was opened is not sent to its end: the receiver sees a reset.
#pragma once

#include <string>
#include <utility>

#include <sys/stat.h>

#include "tools/file_list.h"
#include "tools/file_transfer.h"
#include "tools/sha256.h"

namespace connd::tools {

class OutgoingFile : public FileTransfer {
 public:
  explicit OutgoingFile(ListedFile listed) : FileTransfer(listed.path), listed_(std::move(listed)) {}

  /// Opens the file, then asks for the channel. The result comes later; a file that cannot be read is over at once.
  void start(ipc::Client& client, const std::string& peer, double timeout_s);
  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
  /// The channel could not be had, for this reason: it may concern all files.
  [[nodiscard]] const std::optional<ipc::Error>& open_error() const { return open_error_; }
  [[nodiscard]] bool opened() const { return channel_.has_value(); }

 private:
  [[nodiscard]] bool open_source();
  void on_channel(ipc::Outcome<ipc::ChannelSocket> channel);
  void work(const PollSet& set);
  void read_answer();
  void on_answer(const FileAnswer& answer);
  [[nodiscard]] bool all_sent() const { return sum_added_ && at_ == buffer_.size(); }
  void send_some();
  [[nodiscard]] bool fill();
  [[nodiscard]] bool is_unchanged() const;
  void give_up(std::string text);
  void on_broken(const ipc::ChannelEnd* end) override;

  ListedFile listed_;
  ipc::Fd file_;
  struct stat as_opened_ {};
  std::optional<ipc::Error> open_error_;
  Sha256 hash_;
  std::uint64_t read_ = 0;  // bytes of content
  bool sum_added_ = false;
  proto::ByteVector buffer_;  // at_ to its end waits to be sent
  std::size_t at_ = 0;
  proto::ByteVector answer_;
};

}  // namespace connd::tools
