// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/incoming_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

namespace connd::tools {
namespace {

const char* receiver_hint(FileCode code) {
  switch (code) {
    case FileCode::kNoSpace:
      return "make room, and let it be sent again";
    case FileCode::kExists:
      return "--force replaces files";
    case FileCode::kWrongSum:
    case FileCode::kTimedOut:
      return "let it be sent again";
    default:
      return "";
  }
}

}  // namespace

IncomingFile::IncomingFile(ipc::ChannelSocket channel, FilePath path, const ReceiveDir& directory,
                           proto::MutableBytes scratch, SenderPulse& sender)
    : FileTransfer(std::move(path)),
      directory_(directory),
      scratch_(scratch),
      sender_(sender),
      heard_at_(sender.bytes) {
  channel_.emplace(std::move(channel));
}

void IncomingFile::prepare(PollSet& set) {
  index_ = PollSet::kNone;
  if (over()) return;
  if (ending()) return prepare_end(set);
  // While the disk is waited for, nothing that comes is of interest.
  if (stage_ >= Stage::kWhole) return;
  index_ = set.add(channel_->fd(), POLLIN);
  set.wake_at(silent_at());
}

void IncomingFile::run(const PollSet& set) {
  if (over()) return;
  if (!ending()) work(set);
  if (ending()) run_end(set);
}

void IncomingFile::work(const PollSet& set) {
  // A file that is whole stays so, whatever becomes of its channel.
  if (stage_ >= Stage::kWhole) return;
  if (set.ready(index_)) {
    std::size_t budget = kFileChunkBytes;  // then others have their turn
    while (budget > 0 && !ending() && stage_ < Stage::kWhole) {
      const std::size_t n = step();
      if (n == 0) break;
      budget -= std::min(budget, n);
    }
  }
  if (!ending() && stage_ < Stage::kWhole && channel_->end()) end(true);
}

std::size_t IncomingFile::receive(std::uint8_t* into, std::size_t most) {
  const ssize_t n = ::recv(channel_->fd(), into, most, MSG_DONTWAIT);
  if (n > 0) {
    heard_ = sender_.last = Clock::now();
    sender_.bytes += static_cast<std::uint64_t>(n);
    heard_at_ = sender_.bytes;
    return static_cast<std::size_t>(n);
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  // The sender ended, or the channel broke, before all was here: which, the daemon will say. A sender that ended by
  // mistake is told so.
  answer({FileCode::kMalformed, "the channel ended after " + std::to_string(moved()) + " bytes of content"});
  return 0;
}

IncomingFile::Clock::time_point IncomingFile::silent_at() const {
  if (over() || ending() || stage_ >= Stage::kWhole) return Clock::time_point::max();
  const bool had_turn = sender_.bytes - heard_at_ > kTurnsBytes;
  return (had_turn ? heard_ : std::max(heard_, sender_.last)) + kMaxSilence;
}

void IncomingFile::check_silence(Clock::time_point now) {
  if (now < silent_at()) return;
  // While this side was busy, something may have come.
  if (step() > 0 || ending()) return;
  refuse({FileCode::kTimedOut, "nothing came for " + std::to_string(kMaxSilence.count()) + " s, after " +
                                   std::to_string(moved()) + " bytes of content"});
}

std::size_t IncomingFile::step() {
  switch (stage_) {
    case Stage::kHeader:
      return step_header();
    case Stage::kContent:
      return step_content();
    case Stage::kSum:
      return step_sum();
    default:
      return 0;
  }
}

std::size_t IncomingFile::step_header() {
  const HeaderOutcome outcome = decode_header(small_);
  const std::size_t have = small_.size();
  small_.resize(have + std::get<NeedMore>(outcome).bytes);
  const std::size_t n = receive(small_.data() + have, small_.size() - have);
  small_.resize(have + n);
  const HeaderOutcome now = decode_header(small_);
  if (const auto* header = std::get_if<FileHeader>(&now)) on_header(*header);
  if (const auto* bad = std::get_if<Malformed>(&now)) refuse({FileCode::kMalformed, bad->text});
  return n;
}

void IncomingFile::on_header(const FileHeader& header) {
  size_ = header.size;
  small_.clear();
  MaybeProblem problem;
  file_ = directory_.create(path(), header, problem);
  if (problem) return refuse(std::move(*problem));
  stage_ = size_ > 0 ? Stage::kContent : Stage::kSum;
}

std::size_t IncomingFile::step_content() {
  const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(scratch_.size(), size_ - moved()));
  const std::size_t n = receive(scratch_.data(), most);
  if (n == 0) return 0;
  const proto::Bytes bytes = scratch_.first(n);
  hash_.update(bytes);
  if (MaybeProblem problem = file_->write(bytes)) {
    refuse(std::move(*problem));
    return n;
  }
  moved_more(n);
  if (moved() == size_) stage_ = Stage::kSum;
  return n;
}

std::size_t IncomingFile::step_sum() {
  const std::size_t have = small_.size();
  small_.resize(sum_.size());
  const std::size_t n = receive(small_.data() + have, small_.size() - have);
  small_.resize(have + n);
  if (small_.size() == sum_.size()) check_sum();
  return n;
}

void IncomingFile::check_sum() {
  sum_ = hash_.finish();
  if (!std::equal(sum_.begin(), sum_.end(), small_.begin())) {
    return refuse({FileCode::kWrongSum, "its content is not what its SHA-256 says"});
  }
  stage_ = Stage::kWhole;
}

std::unique_ptr<NewFile> IncomingFile::take_whole() {
  if (stage_ != Stage::kWhole) return nullptr;
  stage_ = Stage::kCommitting;
  return std::move(file_);
}

void IncomingFile::on_committed(MaybeProblem problem) {
  if (problem) return refuse(std::move(*problem));
  succeed();
  answer({});
}

void IncomingFile::interrupt() {
  if (!decided() && !ending()) refuse({FileCode::kInterrupted, "the receiver was interrupted"});
}

void IncomingFile::refuse(FileProblem problem) {
  const ipc::Reason reason = reason_of(problem.code);
  fail({.text = problem.text,
        .reason = reason,
        .hint = receiver_hint(problem.code),
        .local = problem.code == FileCode::kFailed || problem.code == FileCode::kNoSpace});
  answer({problem.code, std::move(problem.text)});
}

/// The sender has sent nothing that waits in this direction, so there is room for an answer at once.
void IncomingFile::answer(const FileAnswer& answer) {
  stage_ = Stage::kAnswered;
  file_.reset();  // removes what is not whole, before the sender hears of it
  const proto::ByteVector bytes = encode_answer(answer);
  static_cast<void>(::send(channel_->fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  end(false);
}

void IncomingFile::on_broken(const ipc::ChannelEnd* end) {
  const std::string progress = std::to_string(moved()) + (size_ > 0 ? " of " + std::to_string(size_) : "") + " bytes";
  if (end != nullptr && !end->clean()) {
    return fail(failure_of(*end, "the sender gave up, or the channel broke, after " + progress + "; nothing is kept"));
  }
  fail({.text = "the sender ended after " + progress + "; nothing is kept", .reason = ipc::Reason::kProtocolError});
}

}  // namespace connd::tools
