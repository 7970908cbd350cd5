// SPDX-License-Identifier: GPL-3.0-or-later
/// LogLines: what the program logs, from debug on, while it lives. On one thread.
#pragma once

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

namespace connd::test {

class LogLines {
 public:
  LogLines() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_st>(out_));
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::debug);
    spdlog::set_default_logger(std::move(logger));
  }
  ~LogLines() { spdlog::set_default_logger(before_); }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  /// Of the lines that begin with `start`, the words that begin with `key`, without it.
  [[nodiscard]] std::vector<std::string> values(const std::string& start, const std::string& key) const {
    std::vector<std::string> found;
    std::istringstream lines(out_.str());
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(start)) continue;
      std::istringstream words(line);
      for (std::string word; words >> word;) {
        if (word.starts_with(key)) found.push_back(word.substr(key.size()));
      }
    }
    return found;
  }

 private:
  std::ostringstream out_;
  const std::shared_ptr<spdlog::logger> before_;
};

}  // namespace connd::test
