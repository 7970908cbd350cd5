// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/outgoing_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/socket.h>

namespace connd::tools {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

FileFailure local(std::string text) {
  return {.text = std::move(text), .local = true};
}

const char* sender_hint(FileCode code) {
  switch (code) {
    case FileCode::kNoSpace:
      return "make room there, and send it again";
    case FileCode::kExists:
      return "'jami-connctl receive --force' replaces files";
    case FileCode::kBadName:
      return "give the file another name";
    case FileCode::kTooLarge:
      return "'jami-connctl receive --max-size, --max-total' say how much it takes";
    case FileCode::kWrongSum:
    case FileCode::kInterrupted:
    case FileCode::kTimedOut:
      return "send it again";
    default:
      return "the receiver's own messages say more";
  }
}

}  // namespace

bool OutgoingFile::open_source() {
  auto file = open_listed(listed_);
  if (!file) {
    fail(local("cannot read it: " + file.error().message));
    return false;
  }
  file_ = std::move(*file);
  if (::fstat(file_.get(), &as_opened_) != 0 || !S_ISREG(as_opened_.st_mode)) {
    fail(local("it is not a regular file"));
    return false;
  }
  ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  size_ = static_cast<std::uint64_t>(as_opened_.st_size);
  return true;
}

void OutgoingFile::start(ipc::Client& client, const std::string& peer, double timeout_s) {
  if (!open_source()) return over_now();
  client.connect_device(peer, file_uri(path()),
                        [this](ipc::Outcome<ipc::ChannelSocket> channel) { on_channel(std::move(channel)); },
                        {.timeout_s = timeout_s});
}

void OutgoingFile::on_channel(ipc::Outcome<ipc::ChannelSocket> channel) {
  if (!channel) {
    open_error_ = channel.error();
    const bool kept = channel.error().reason == ipc::Reason::kDeclined;
    fail({.text = kept ? "the receiver does not take it" : channel.error().message,
          .reason = channel.error().reason,
          .detail = channel.error().detail,
          .hint = kept ? "the receiver's own messages say more" : ""});
    return over_now();
  }
  channel_.emplace(std::move(*channel));
  buffer_ = encode_header({size_, nanoseconds(as_opened_.st_mtim), as_opened_.st_mode & 07777U});
}

void OutgoingFile::prepare(PollSet& set) {
  index_ = PollSet::kNone;
  if (over() || !channel_) return;
  if (ending()) return prepare_end(set);
  index_ = set.add(channel_->fd(), static_cast<short>(all_sent() ? POLLIN : POLLIN | POLLOUT));
}

void OutgoingFile::run(const PollSet& set) {
  if (over() || !channel_) return;
  if (!ending()) work(set);
  if (ending()) run_end(set);
}

void OutgoingFile::work(const PollSet& set) {
  // An answer may have come although the channel is gone.
  if (set.ready(index_) || channel_->end()) read_answer();
  if (!ending() && channel_->end()) end(true);
  if (!ending() && set.ready(index_) && !all_sent()) send_some();
}

void OutgoingFile::read_answer() {
  while (!ending()) {
    const AnswerOutcome outcome = decode_answer(answer_);
    if (const auto* answer = std::get_if<FileAnswer>(&outcome)) return on_answer(*answer);
    if (const auto* bad = std::get_if<Malformed>(&outcome)) {
      fail({.text = bad->text, .reason = ipc::Reason::kProtocolError});
      return abort();
    }
    const std::size_t have = answer_.size();
    answer_.resize(have + std::get<NeedMore>(outcome).bytes);
    const ssize_t n = ::recv(channel_->fd(), answer_.data() + have, answer_.size() - have, MSG_DONTWAIT);
    answer_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n > 0) continue;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    end(!channel_->half_close());  // an end without an answer: which, the daemon will say
  }
}

void OutgoingFile::on_answer(const FileAnswer& answer) {
  if (answer.code != FileCode::kDone) {
    fail({.text = "the receiver does not keep it",
          .reason = reason_of(answer.code),
          .detail = answer.text,
          .hint = sender_hint(answer.code)});
  } else if (!all_sent()) {
    fail({.text = "the receiver says that it has all before it can", .reason = ipc::Reason::kProtocolError});
  } else {
    succeed();
  }
  end(!channel_->half_close());
}

void OutgoingFile::send_some() {
  std::size_t budget = kFileChunkBytes;  // then others have their turn
  while (budget > 0 && !all_sent()) {
    if (at_ == buffer_.size() && !fill()) return;
    const ssize_t n = ::send(channel_->fd(), buffer_.data() + at_, buffer_.size() - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) end(true);  // gone; a last word was looked for before
      return;
    }
    at_ += static_cast<std::size_t>(n);
    budget -= std::min(budget, static_cast<std::size_t>(n));
    moved_more(std::min(static_cast<std::uint64_t>(n), size_ - moved()));
  }
  if (all_sent()) {
    at_ = 0;
    buffer_ = {};
    file_.reset();
  }
}

/// The next bytes to send; false when the file cannot be sent on.
bool OutgoingFile::fill() {
  at_ = 0;
  if (read_ < size_) {
    buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kFileChunkBytes, size_ - read_)));
    const ssize_t n = ::read(file_.get(), buffer_.data(), buffer_.size());
    if (n < 0) {
      give_up("cannot read it: " + std::system_category().message(errno));
      return false;
    }
    if (n == 0) {
      give_up("it ended after " + std::to_string(read_) + " of the " + std::to_string(size_) +
              " bytes that its size says: it shrank while it was sent, or is no ordinary file; send a copy of it");
      return false;
    }
    buffer_.resize(static_cast<std::size_t>(n));
    hash_.update(buffer_);
    read_ += static_cast<std::uint64_t>(n);
  } else {
    buffer_.clear();
  }
  if (read_ < size_) return true;
  // Files of /proc and the like have content, and 0 for their size.
  std::uint8_t beyond = 0;
  if (::read(file_.get(), &beyond, 1) > 0) {
    give_up("it has more than the " + std::to_string(size_) +
            " bytes that its size says: it grew while it was sent, or is no ordinary file; send a copy of it");
    return false;
  }
  if (!is_unchanged()) {
    give_up("it changed while it was sent");
    return false;
  }
  sum_ = hash_.finish();
  buffer_.insert(buffer_.end(), sum_.begin(), sum_.end());
  sum_added_ = true;
  return true;
}

/// Asked before the sum is sent, without which nothing is complete. The time stamp also tells of bytes that were
/// overwritten in place.
bool OutgoingFile::is_unchanged() const {
  struct stat now {};
  return ::fstat(file_.get(), &now) == 0 && now.st_size == as_opened_.st_size &&
         nanoseconds(now.st_mtim) == nanoseconds(as_opened_.st_mtim);
}

void OutgoingFile::give_up(std::string text) {
  fail(local(std::move(text)));
  abort();
}

void OutgoingFile::on_broken(const ipc::ChannelEnd* end) {
  if (end != nullptr && !end->clean()) return fail(failure_of(*end, "the channel broke before it was there"));
  fail({.text = "the receiver ended the channel without an answer", .reason = ipc::Reason::kProtocolError});
}

}  // namespace connd::tools
