// SPDX-License-Identifier: GPL-3.0-or-later
/// The daemon's end of a control socket, played by a test: it listens for real, speaks with the server's own pieces,
/// and says what the test tells it to. For what a real daemon does only with luck: resets, refusals, its own death.
#pragma once

#include <memory>
#include <string>

#include "ipc/fd_channel.h"
#include "ipc/message.h"

namespace connd::test {

class PlayedDaemon {
 public:
  PlayedDaemon();
  ~PlayedDaemon();
  PlayedDaemon(const PlayedDaemon&) = delete;
  PlayedDaemon& operator=(const PlayedDaemon&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Waits for a client, and answers its hello.
  void greet();
  /// Waits for the next request, which must be of `method`.
  ipc::Request expect(const std::string& method);
  ipc::Request expect_any();
  /// Waits until the client has gone; it must say nothing before.
  void expect_end();
  void reply(const ipc::Request& request, ipc::Json result, ipc::Fd fd = {});
  void fail(const ipc::Request& request, ipc::Reason reason, std::string detail = {});
  void notify(const std::string& method, ipc::Json params);
  void vanish() { client_.reset(); }

  /// Greets, takes the open that must come, and hands a channel with handle 7 over; gives the peer's end.
  ipc::Fd open_channel();
  /// For `listen`: greets and registers; the listener is 3.
  void take_listener();
  /// Lets a peer ask for `uri`; it must be accepted, and gets this handle. Gives the peer's end.
  ipc::Fd offer(std::uint64_t handle, const std::string& uri);
  void ask(std::uint64_t request, const std::string& uri);
  void ask(std::uint64_t request, const std::string& uri, const std::string& peer, const std::string& account);
  void finish(std::uint64_t handle);  ///< expects channel.finish, and answers
  void close(std::uint64_t handle);   ///< expects channel.close, answers, and tells the end
  void tell_end(std::uint64_t handle, const char* reason);

 private:
  ipc::FdChannel::Outcome next();
  void send(std::string line, ipc::Fd fd);

  std::string directory_;
  std::string path_;
  ipc::Fd listening_;
  std::unique_ptr<ipc::FdChannel> client_;
};

inline constexpr const char* kPeer = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
inline constexpr const char* kAccount = "00112233445566778899aabbccddeeff00112233";

}  // namespace connd::test
