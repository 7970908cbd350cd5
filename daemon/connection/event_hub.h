// SPDX-License-Identifier: GPL-3.0-or-later
/// EventHub: numbers what happens and hands it to whoever passes it on to subscribers.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

namespace connd::daemon {

class EventHub {
 public:
  /// `data` is an object; type and number are not in it.
  using Sink = std::function<void(std::uint64_t seq, const std::string& type, const nlohmann::json& data)>;

  /// There is one sink; an empty function takes it away.
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  void publish(const std::string& type, const nlohmann::json& data) {
    ++seq_;
    if (sink_) sink_(seq_, type, data);
  }
  /// Of the last event; 0 before the first.
  [[nodiscard]] std::uint64_t seq() const { return seq_; }

 private:
  Sink sink_;
  std::uint64_t seq_ = 0;
};

}  // namespace connd::daemon
