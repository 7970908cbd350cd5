// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_report.h"

#include <cstdio>
#include <utility>

#include "tools/output.h"

namespace connd::tools {
namespace {

std::string shown(const FilePath& path) {
  return printable(path_text(path));
}

double seconds_since(Progress::Clock::time_point begun) {
  return std::chrono::duration<double>(Progress::Clock::now() - begun).count();
}

/// "30.0 MB in 0.4 s, 75.0 MB/s".
std::string amount(std::uint64_t bytes, double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  return human_bytes(bytes) + " in " + text + ", " + human_bytes(static_cast<std::uint64_t>(rate)) + "/s";
}

std::string count_text(std::uint64_t count) {
  return std::to_string(count) + (count == 1 ? " file" : " files");
}

}  // namespace

FileReport::FileReport(const Context& context, std::string verb_done) : context_(context), done_(std::move(verb_done)) {
  if (context_.json) progress_.disable();
}

void FileReport::expect(std::uint64_t files, std::uint64_t bytes) {
  expected_files_ += files;
  expected_bytes_ += bytes;
}

void FileReport::note(int exit_code) {
  if (!first_failure_) first_failure_ = exit_code;
}

void FileReport::print(const ipc::Json& line) {
  print_json(line);
  std::fflush(stdout);
}

void FileReport::decided(const FileTransfer& file, const std::string& peer) {
  settled_bytes_ += file.moved();
  if (file.failure()) return failed(file.path(), peer, *file.failure());
  ++count_done_;
  bytes_done_ += file.size();
  const double seconds = seconds_since(file.begun());
  if (context_.json) {
    return print({{"type", "file." + done_},
                  {"name", path_text(file.path())},
                  {"uri", file_uri(file.path())},
                  {"peer", peer},
                  {"size", file.size()},
                  {"sha256", proto::to_hex(file.sum())},
                  {"seconds", seconds}});
  }
  progress_.hide();
  const std::string from = done_ == "received" ? " from " + peer.substr(0, 16) : "";
  std::printf("%s: %s%s, %s\n", shown(file.path()).c_str(), done_.c_str(), from.c_str(),
              amount(file.size(), seconds).c_str());
  std::fflush(stdout);
}

void FileReport::count_failed(const FilePath& path, const std::string& peer, const FileFailure& failure) {
  ++count_failed_;
  if (!context_.json) return;
  ipc::Json line = {{"type", "file.failed"},
                    {"name", path_text(path)},
                    {"peer", peer},
                    {"reason", proto::reason_name(failure.reason)},
                    {"message", failure.text}};
  if (!failure.detail.empty()) line["detail"] = failure.detail;
  print(line);
}

void FileReport::failed(const FilePath& path, const std::string& peer, const FileFailure& failure) {
  progress_.hide();
  count_failed(path, peer, failure);
  const std::string text = path_text(path) + ": " + failure.text;
  if (failure.local) {
    note(context_.fail(text + (failure.hint.empty() ? "" : ": " + failure.hint)));
  } else {
    note(context_.fail(ipc::make_error(failure.reason, text, failure.detail), failure.hint));
  }
}

void FileReport::failed(const ipc::Error& error, std::string_view hint) {
  progress_.hide();
  note(context_.fail(error, hint));
}

void FileReport::failed(const std::string& text) {
  progress_.hide();
  note(context_.fail(text));
}

void FileReport::not_begun(const FilePath& path, const ipc::Error& error) {
  count_failed(path, "", {.text = error.message, .reason = error.reason, .detail = error.detail});
}

void FileReport::say(const std::string& text) {
  progress_.hide();
  context_.say(text);
}

void FileReport::draw(std::span<const std::unique_ptr<FileTransfer>> active) {
  const auto now = Progress::Clock::now();
  const auto next = next_draw();
  if (!next || now < *next) return;
  std::vector<ProgressItem> items;
  ProgressItem total{.name = {}, .done = settled_bytes_, .size = settled_bytes_};
  for (const auto& file : active) {
    if (file->decided()) continue;
    total.done += file->moved();
    total.size += file->size();
    if (!file->channel() || items.size() == Progress::kMaxBars) continue;
    items.push_back({shown(file->path()), file->moved(), file->size(), file->rate().bytes_per_second(now)});
  }
  rate_.add(total.done - std::exchange(rated_bytes_, total.done), now);
  if (!items.empty() && expected_files_ > 1) {
    total.size = std::max(total.size, expected_bytes_);
    total.name = "total: " + std::to_string(count_done_ + count_failed_) + " of " + std::to_string(expected_files_);
    total.bytes_per_second = rate_.bytes_per_second(now);
    items.push_back(std::move(total));
  }
  progress_.draw(std::move(items));
}

int FileReport::end() {
  progress_.hide();
  const double seconds = seconds_since(begun_);
  if (context_.json) {
    print({{"type", "summary"},
           {"files", count_done_},
           {"bytes", bytes_done_},
           {"failed", count_failed_},
           {"seconds", seconds}});
  } else if (count_done_ + count_failed_ > 1) {
    const std::string failed = count_failed_ > 0 ? "; " + count_text(count_failed_) + " failed" : "";
    std::printf("%s %s, %s%s\n", count_text(count_done_).c_str(), done_.c_str(), amount(bytes_done_, seconds).c_str(),
                failed.c_str());
  }
  return first_failure_.value_or(0);
}

}  // namespace connd::tools
