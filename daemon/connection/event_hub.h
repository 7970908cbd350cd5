// SPDX-License-Identifier: GPL-3.0-or-later
/// EventHub: hands what happens to whoever passes it on to subscribers, while there are any. It numbers nothing: each
/// subscription has numbers of its own.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

namespace connd::daemon {

class EventHub {
 public:
  /// `data` is an object; the type is not in it.
  using Sink = std::function<void(const std::string& type, const nlohmann::json& data)>;

  /// There is one sink; an empty function takes it away: nobody listens.
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  /// What is published reaches somebody. Who has to make much of it asks first, or gives publish() a function.
  [[nodiscard]] bool heard() const { return static_cast<bool>(sink_); }
  void publish(const std::string& type, const nlohmann::json& data) {
    if (sink_) sink_(type, data);
  }
  /// `make` returns the data, and is called only where somebody listens.
  template <std::invocable Make>
  void publish(const std::string& type, Make&& make) {
    if (sink_) sink_(type, std::forward<Make>(make)());
  }

 private:
  Sink sink_;
};

}  // namespace connd::daemon
