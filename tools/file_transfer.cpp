// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_transfer.h"

#include <array>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

namespace connd::tools {

void FileTransfer::fail(FileFailure failure) {
  if (std::exchange(decided_, true)) return;
  failure_ = std::move(failure);
}

void FileTransfer::moved_more(std::size_t bytes) {
  moved_ += bytes;
  rate_.add(bytes, Clock::now());
}

FileFailure FileTransfer::failure_of(const ipc::ChannelEnd& end, std::string text) {
  return {.text = std::move(text), .reason = end.reason, .detail = end.detail};
}

void FileTransfer::abort() {
  ending_ = true;
  end_by_ = Clock::now() + kEndWait;
  if (channel_) channel_->close();
}

void FileTransfer::end(bool close_now) {
  if (std::exchange(ending_, true)) return;
  end_by_ = Clock::now() + kEndWait;
  channel_->finish();
  if (close_now) channel_->close();
}

void FileTransfer::prepare_end(PollSet& set) {
  index_ = channel_->fd() >= 0 ? set.add(channel_->fd(), POLLIN) : PollSet::kNone;
  set.wake_at(end_by_);
}

/// What still comes is of no interest: the other side has not heard yet, or says too much.
void FileTransfer::drain() {
  std::array<std::uint8_t, 65536> unwanted;  // not initialised: it is only written
  std::size_t taken = 0;
  while (taken < kFileChunkBytes) {
    const ssize_t n = ::recv(channel_->fd(), unwanted.data(), unwanted.size(), MSG_DONTWAIT);
    if (n > 0) {
      taken += static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    return channel_->close();
  }
}

void FileTransfer::run_end(const PollSet& set) {
  if (set.ready(index_) && channel_->fd() >= 0) drain();
  const auto& end = channel_->end();
  if (!end && Clock::now() < end_by_) return;
  channel_->close();
  if (!decided_) on_broken(end ? &*end : nullptr);
  over_now();
}

}  // namespace connd::tools
