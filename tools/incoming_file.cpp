// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/incoming_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

namespace connd::tools {

const char* receiver_hint(FileCode code) {
  switch (code) {
    case FileCode::kNoSpace:
      return "make room, and let it be sent again";
    case FileCode::kTooLarge:
      return "--max-size and --max-total say how much is taken";
    case FileCode::kExists:
      return "--force replaces files";
    case FileCode::kWrongSum:
    case FileCode::kTimedOut:
      return "let it be sent again";
    default:
      return "";
  }
}

namespace {

FileProblem all_taken() {
  return {FileCode::kTooLarge, "the receiver has taken as much as it takes in all", "as much came as is taken in all"};
}

MaybeProblem fits(const Allowance& allowance, std::uint64_t bytes) {
  if (bytes > allowance.file_bytes) {
    return FileProblem{FileCode::kTooLarge,
                       "the receiver takes files of " + std::to_string(allowance.file_bytes) + " bytes at most",
                       "files of " + std::to_string(allowance.file_bytes) + " bytes are taken at most"};
  }
  if (bytes > allowance.total_bytes - allowance.taken) return all_taken();
  return std::nullopt;
}

}  // namespace

IncomingFile::IncomingFile(ipc::ChannelSocket channel, FilePath path, const Receiver& receiver, SenderPulse& sender)
    : FileTransfer(std::move(path)), receiver_(receiver), sender_(sender), sender_at_(sender.bytes) {
  channel_.emplace(std::move(channel));
}

IncomingFile::~IncomingFile() {
  give_back();
}

void IncomingFile::prepare(PollSet& set) {
  index_ = PollSet::kNone;
  if (over()) return;
  if (ending()) return prepare_end(set);
  // While the disk is waited for, nothing that comes is of interest.
  if (stage_ >= Stage::kWhole) return;
  index_ = set.add(channel_->fd(), POLLIN);
  set.wake_at(late_at());
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
    const auto now = Clock::now();
    since_step_ += static_cast<std::uint64_t>(n);
    sender_.bytes += static_cast<std::uint64_t>(n);
    if (since_step_ >= kStepBytes) {
      since_step_ = 0;
      stepped_ = now;
      sender_at_ = sender_.bytes;
    }
    if (sender_.bytes - sender_.stepped_at >= kStepBytes) {
      sender_.stepped = now;
      sender_.stepped_at = sender_.bytes;
    }
    return static_cast<std::size_t>(n);
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  // The sender ended, or the channel broke, before all was here: which, the daemon will say. A sender that ended by
  // mistake is told so.
  answer({FileCode::kMalformed, "the channel ended after " + std::to_string(moved()) + " bytes of content"});
  return 0;
}

IncomingFile::Clock::time_point IncomingFile::stepped() const {
  return speaks() ? stepped_ : Clock::time_point::max();
}

IncomingFile::Clock::time_point IncomingFile::late_at() const {
  if (!speaks()) return Clock::time_point::max();
  const bool had_turn = sender_.bytes - sender_at_ > kTurnsBytes;
  return (had_turn ? stepped_ : std::max(stepped_, sender_.stepped)) + kPatience;
}

void IncomingFile::check_late(Clock::time_point now) {
  if (now >= late_at()) refuse_late("", kPatience);
}

void IncomingFile::give_place() {
  refuse_late("others wait for its place, and ", kPatienceIfWanted);
}

void IncomingFile::refuse_late(const char* why, std::chrono::seconds patience) {
  refuse({FileCode::kTimedOut, std::string(why) + "less than 64 KiB came in " + std::to_string(patience.count()) +
                                   " s, after " + std::to_string(moved()) + " bytes of content"});
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
  MaybeProblem problem = fits(receiver_.allowance, size_);
  if (problem) return refuse(std::move(*problem));
  file_ = receiver_.directory.create(path(), header, problem);
  if (problem) return refuse(std::move(*problem));
  stage_ = size_ > 0 ? Stage::kContent : Stage::kSum;
}

std::size_t IncomingFile::step_content() {
  const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(receiver_.scratch.size(), size_ - moved()));
  const std::size_t n = receive(receiver_.scratch.data(), most);
  if (n == 0) return 0;
  const proto::Bytes bytes = receiver_.scratch.first(n);
  hash_.update(bytes);
  MaybeProblem problem = take_bytes(n);
  if (!problem) problem = file_->write(bytes);
  if (problem) {
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
  held_ = 0;  // it stays
  answer({});
}

void IncomingFile::interrupt(FileProblem why) {
  if (!decided() && !ending()) refuse(std::move(why));
}

/// Bytes that came, of what is taken in all. Several files may begin that fit one by one, and not together.
MaybeProblem IncomingFile::take_bytes(std::uint64_t bytes) {
  Allowance& allowance = receiver_.allowance;
  if (bytes > allowance.total_bytes - allowance.taken) return all_taken();
  allowance.taken += bytes;
  held_ += bytes;
  return std::nullopt;
}

void IncomingFile::give_back() {
  receiver_.allowance.taken -= held_;
  held_ = 0;
}

void IncomingFile::refuse(FileProblem problem) {
  const ipc::Reason reason = reason_of(problem.code);
  fail({.text = problem.said_here(),
        .reason = reason,
        .hint = receiver_hint(problem.code),
        .local = problem.code == FileCode::kFailed || problem.code == FileCode::kNoSpace});
  answer({problem.code, std::move(problem.text)});
}

/// The sender has sent nothing that waits in this direction, so there is room for an answer at once.
void IncomingFile::answer(const FileAnswer& answer) {
  stage_ = Stage::kAnswered;
  file_.reset();  // removes what is not whole, before the sender hears of it
  give_back();
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
