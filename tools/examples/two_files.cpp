// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Two files to a peer, each over a channel of its own, both over one connection. One thread, one loop.
///
///     two_files receive DIRECTORY          takes file1 and file2 of peers that are allowed, then ends
///     two_files send PEER FILE1 FILE2      PEER: a device id or alias
///
/// The exit code is 0 if both files are whole on the other side. What is not whole keeps the name file1.part.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <list>
#include <set>
#include <string>
#include <vector>

#include <jami-connd/ipc/client.h>
#include <sys/sendfile.h>

using namespace connd::ipc;

namespace {

/// One file on its way out or in.
struct Transfer {
  ChannelSocket channel;
  Fd file;
  std::string path;  // of what is received, once it is whole
  bool sending;      // the file has more to send

  /// The channel has ended, and all that came over it is written.
  [[nodiscard]] bool over() const { return channel.fd() < 0 && channel.end(); }
};

struct App {
  std::unique_ptr<Client> client;
  std::list<Transfer> transfers;
};

void start(App& app, ChannelSocket channel, Fd file, const std::string& path) {
  const bool sending = path.empty();
  ::fcntl(channel.fd(), F_SETFL, O_NONBLOCK);
  if (!sending) channel.finish();  // we have nothing to say
  if (!file) {
    std::perror("two_files");
    channel.close();  // unread: the peer sees a reset
  }
  app.transfers.push_back({std::move(channel), std::move(file), path, sending});
}

/// Does what can be done now.
void move_on(Transfer& transfer) {
  const int channel = transfer.channel.fd();
  if (transfer.sending) {
    const ssize_t n = ::sendfile(channel, transfer.file.get(), nullptr, 1 << 20);
    if (n < 0 && errno == EAGAIN) return;
    transfer.sending = n > 0;
    if (n == 0) transfer.channel.finish();  // that was all of it. Without this, the peer sees a reset
    if (n < 0) transfer.channel.close();
    return;
  }
  char buffer[65536];
  const ssize_t n = ::read(channel, buffer, sizeof buffer);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0 && ::write(transfer.file.get(), buffer, static_cast<std::size_t>(n)) == n) return;
  transfer.channel.close();  // the proper end where the peer has ended; an abort where the disk is full
}

/// Until both files are over, or the daemon is gone.
void loop(App& app) {
  const auto over = [](const Transfer& transfer) { return transfer.over(); };
  while (app.client->connected() && (app.transfers.size() < 2 || !std::ranges::all_of(app.transfers, over))) {
    std::vector<pollfd> polled{{app.client->fd(), POLLIN, 0}};
    if (app.client->wants_write()) polled[0].events |= POLLOUT;
    for (const Transfer& transfer : app.transfers) {
      polled.push_back({transfer.channel.fd(), transfer.sending ? short{POLLOUT} : short{POLLIN}, 0});
    }
    ::poll(polled.data(), polled.size(), -1);
    auto ready = polled.begin();
    for (Transfer& transfer : app.transfers) {
      if ((++ready)->revents != 0) move_on(transfer);
    }
    app.client->process();
  }
}

/// Says how each went. The fd cannot tell whether the data is complete: only the end of the channel can.
int report(const App& app) {
  int exit_code = app.transfers.size() == 2 ? 0 : make_error(Reason::kConnectionLost).exit_code();
  for (const auto& [channel, file, path, sending] : app.transfers) {
    const Outcome<void> result = channel.end() ? channel.end()->result() : make_error(Reason::kConnectionLost);
    if (result) {
      if (!path.empty()) std::filesystem::rename(path + ".part", path);
      std::printf("%s: %ju bytes\n", channel.uri().c_str(),
                  std::uintmax_t{path.empty() ? channel.end()->bytes_out : channel.end()->bytes_in});
    } else {
      const Error& error = result.error();
      std::fprintf(stderr, "%s: %s%s%s\n", channel.uri().c_str(), error.message.c_str(),
                   error.detail.empty() ? "" : ": ", error.detail.c_str());
      exit_code = error.exit_code();
    }
  }
  return exit_code;
}

void send(App& app, const std::string& peer, const std::string& file1, const std::string& file2) {
  app.client->connect_device(peer, "file://file1", [&](ChannelSocket channel) {
    start(app, std::move(channel), Fd(::open(file1.c_str(), O_RDONLY | O_CLOEXEC)), {});
  });
  app.client->connect_device(peer, "file://file2", [&](ChannelSocket channel) {
    start(app, std::move(channel), Fd(::open(file2.c_str(), O_RDONLY | O_CLOEXEC)), {});
  });
  loop(app);
}

Outcome<std::uint64_t> receive(App& app, const std::string& directory) {
  std::set<std::string> wanted{"file://file1", "file://file2"};
  auto listener = app.client->listen_ask("file://", {.prefix = true}, [&](IncomingRequest request) {
    // Each once, and no name that the peer makes up.
    if (wanted.erase(request.uri()) == 0) return request.decline("only file1 and file2");
    request.accept([&, uri = request.uri()](Outcome<ChannelSocket> channel) {
      if (!channel) return void(wanted.insert(uri));  // the peer has changed its mind
      const std::string path = directory + "/" + uri.substr(std::string("file://").size());
      Fd file(::open((path + ".part").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
      start(app, std::move(*channel), std::move(file), path);
    });
  });
  if (listener) loop(app);
  return listener;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const bool sends = words.size() == 4 && words[0] == "send";
  if (!sends && !(words.size() == 2 && words[0] == "receive")) {
    std::fprintf(stderr, "usage: two_files receive DIRECTORY | two_files send PEER FILE1 FILE2\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // the end of the channel tells
  auto client = Client::connect({.name = "two_files"});
  if (!client) {
    std::fprintf(stderr, "two_files: %s\n", client.error().message.c_str());
    return client.error().exit_code();
  }
  App app{std::move(*client), {}};
  if (sends) {
    send(app, words[1], words[2], words[3]);
  } else if (const auto listener = receive(app, words[1]); !listener) {
    std::fprintf(stderr, "two_files: %s\n", listener.error().message.c_str());
    return listener.error().exit_code();
  }
  return report(app);
}
