// SPDX-License-Identifier: GPL-3.0-or-later
/// What all verbs of jami-connctl share: the global options, the connection to the daemon, and how an error is told.
///
/// Exit codes: 0; the table's (proto/reason.h); 2 for a wrong command line; 1 for what is wrong on this side, such as
/// a full disk; 128 + n when signal n ended it, where 141 is a reader of our output that has gone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/client.h"

// CLI11 takes seconds to compile: only the files that describe the verbs' arguments include it.
namespace CLI {
class App;
}

namespace connd::tools {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

struct Context {
  std::string socket_path;
  bool json = false;
  bool verbose = false;
  std::vector<std::string> exec;  ///< what stood behind `--exec`; taken off the command line before it is parsed
  bool has_exec = false;
  std::string verb;          ///< for messages
  std::function<int()> run;  ///< the chosen verb; gives the exit code

  /// Connects, or tells why not; null then, and `exit_code` is set.
  [[nodiscard]] std::unique_ptr<ipc::Client> connect(int& exit_code) const;
  /// Calls, and tells what went wrong; `exit_code` is set then.
  [[nodiscard]] std::optional<ipc::Json> call(std::string_view method, ipc::Json params, int& exit_code) const;

  /// The same of a method that lists, however much there is: all is in the member `items`.
  [[nodiscard]] std::optional<ipc::Json> list(std::string_view method, const char* items, int& exit_code) const;

  /// One line on stderr: what went wrong, its reason, and what to do. Returns the exit code. `hint` replaces the
  /// usual advice for the reason.
  int fail(const ipc::Error& error, std::string_view hint = {}) const;
  /// The same for what is no error of the API.
  int fail(std::string_view text, int exit_code = kExitFailure) const;
  /// One line on stderr that is no error.
  void say(std::string_view text) const;
};

/// Each adds its verbs to `app`.
void add_status_verbs(CLI::App& app, Context& context);
void add_trust_verbs(CLI::App& app, Context& context);
void add_identity_verbs(CLI::App& app, Context& context);
void add_event_verbs(CLI::App& app, Context& context);
void add_request_verbs(CLI::App& app, Context& context);
void add_open(CLI::App& app, Context& context);
void add_listen(CLI::App& app, Context& context);
void add_send(CLI::App& app, Context& context);
void add_receive(CLI::App& app, Context& context);
void add_doctor(CLI::App& app, Context& context);

/// An id as people copy it: blanks in it, and `jami:` before it, are taken away. What is no id then stays as it is.
std::string plain_id(const std::string& text);

}  // namespace connd::tools
