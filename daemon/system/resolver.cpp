// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/resolver.h"

#include <netdb.h>

#include <cassert>
#include <charconv>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

namespace connd::daemon {
namespace {

Resolver::Addresses ask_nameserver(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* head = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &head) != 0) return {};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(head, ::freeaddrinfo);
  Resolver::Addresses out;
  for (const addrinfo* entry = head; entry != nullptr && out.size() < kMaxAddressesPerName; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    SocketAddress& address = out.emplace_back();
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
  }
  return out;
}

}  // namespace

std::vector<SocketAddress> numeric_addresses(const std::string& host, const std::string& port) {
  std::uint16_t number = 0;
  const char* end = port.data() + port.size();
  if (const auto parsed = std::from_chars(port.data(), end, number); parsed.ec != std::errc{} || parsed.ptr != end)
    return {};
  SocketAddress out;
  auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
  const auto percent = host.find('%');  // RFC 4007 11: the link of a link-local address
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(number);
    out.length = sizeof v4;
  } else if (::inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(number);
    if (percent != std::string::npos) v6.sin6_scope_id = ::if_nametoindex(host.c_str() + percent + 1);
    out.length = sizeof v6;
  } else {
    return {};
  }
  return {out};
}

/// What a thread and the resolver have in common. The lock is about one question alone, whether there is still a loop
/// to post to: a thread that comes back late must not meet the loop's end.
struct Resolver::Shared {
  Shared(Loop* l, Resolver* r) : loop(l), resolver(r) {}
  std::mutex mutex;
  Loop* loop;          ///< null: the resolver has gone
  Resolver* resolver;  ///< for the loop's thread alone
};

Resolver::Resolver(Loop& loop, Ask ask)
    : loop_(loop), ask_(ask ? std::move(ask) : ask_nameserver), shared_(std::make_shared<Shared>(&loop, this)) {}

Resolver::~Resolver() {
  assert(loop_.on_thread());
  const std::lock_guard lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->resolver = nullptr;
}

void Resolver::resolve(std::string host, std::string port, Done done) {
  assert(loop_.on_thread());
  Name name{std::move(host), std::move(port), std::move(done)};
  if (under_way_.size() < kMaxNamesUnderWay) return begin(std::move(name));
  if (waiting_.size() < kMaxNamesWaiting) {
    waiting_.push_back(std::move(name));
    return;
  }
  loop_.post([shared = shared_, done = std::move(name.done)] {
    if (shared->resolver != nullptr) done({});
  });
}

void Resolver::begin(Name name) {
  const std::uint64_t id = next_id_++;
  under_way_[id] = std::move(name.done);
  const auto answer = [shared = shared_, id](const Addresses& found) {
    if (shared->resolver != nullptr) shared->resolver->on_answer(id, found);
  };
  try {
    std::thread([shared = shared_, answer, ask = ask_, host = std::move(name.host), port = std::move(name.port)] {
      give_way();
      auto found = ask(host, port);
      const std::lock_guard lock(shared->mutex);
      if (shared->loop != nullptr) shared->loop->post([answer, found = std::move(found)] { answer(found); });
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had: as if there were no such name
    loop_.post([answer] { answer({}); });
  }
}

void Resolver::on_answer(std::uint64_t id, const Addresses& addresses) {
  const auto node = under_way_.extract(id);
  if (!waiting_.empty()) {
    Name next = std::move(waiting_.front());
    waiting_.pop_front();
    begin(std::move(next));
  }
  node.mapped()(addresses);  // last: it may destroy this
}

}  // namespace connd::daemon
