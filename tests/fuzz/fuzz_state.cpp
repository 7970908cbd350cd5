// SPDX-License-Identifier: GPL-3.0-or-later
/// Files of the state directory, which a crash, a full disk or a person with an editor may have left in any state: they
/// are read, or refused with a reason, and what was read is written and read again the same. The input's first byte
/// chooses the file.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <spdlog/spdlog.h>

#include "daemon/trust/alias_store.h"
#include "daemon/trust/certificate_store.h"
#include "daemon/trust/crl_store.h"
#include "daemon/trust/pair_store.h"
#include "daemon/trust/request_log.h"
#include "daemon/trust/trust_store.h"
#include "tests/fuzz/check.h"

using namespace connd;
using namespace connd::daemon;

namespace {

/// Removed with the process.
class Directory {
 public:
  Directory() {
    spdlog::set_level(spdlog::level::off);  // many an input would have its line
    const char* memory = "/dev/shm";
    std::string base = ::access(memory, W_OK) == 0 ? memory : "/tmp";
    path_ = base + "/connd-fuzz-XXXXXX";
    FUZZ_CHECK(::mkdtemp(path_.data()) != nullptr);
    for (const char* inside : {"/crls", "/chains"}) std::filesystem::create_directory(path_ + inside);
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string write(const std::string& name, proto::Bytes bytes) const {
    const std::string file = path_ + "/" + name;
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    ::close(fd);
    return file;
  }
  std::string of(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void refused(const Failure& why) {
  FUZZ_CHECK(why.code && !why.text.empty());
}

void trust(const Directory& at, proto::Bytes bytes) {
  const auto store = TrustStore::open(at.write("trust.json", bytes));
  if (!store) return refused(store.failure());
  const auto entries = store->list();
  FUZZ_CHECK(entries.size() == store->size() && store->size() <= TrustStore::kMaxEntries);
}

void aliases(const Directory& at, proto::Bytes bytes) {
  const auto store = AliasStore::open(at.write("aliases.json", bytes));
  if (!store) return refused(store.failure());
  for (const auto& [name, device] : store->list()) {
    FUZZ_CHECK(AliasStore::valid_name(name) && store->resolve(name) == device);
  }
}

void requests(const Directory& at, proto::Bytes bytes) {
  const auto log = RequestLog::open(at.write("requests", bytes));
  if (!log) return refused(log.failure());
  const auto snapshot = log->serialize();
  FUZZ_CHECK(snapshot.bytes.size() <= RequestLog::kMaxFileBytes);
  const auto again = RequestLog::open(at.write("requests", snapshot.bytes));
  FUZZ_CHECK(again && again->serialize().bytes == snapshot.bytes);
}

void pairs(const Directory& at, proto::Bytes bytes) {
  const auto store = PairStore::open(at.write("pairs", bytes));
  FUZZ_CHECK(store);  // a damaged one is none
  FUZZ_CHECK(store->pairs().size() <= PairStore::kMaxPeers);
  (void)store->listens({}, 1'800'000'000);
  const auto snapshot = store->serialize();
  const auto again = PairStore::open(at.write("pairs", snapshot.bytes));
  FUZZ_CHECK(again && again->serialize().bytes == snapshot.bytes);
}

void crls(const Directory& at, proto::Bytes bytes) {
  at.write("crls/a.crl", bytes);
  const auto store = CrlStore::open(at.of("crls"));
  if (!store) refused(store.failure());
}

void chains(const Directory& at, proto::Bytes bytes) {
  proto::DeviceId device;
  device.bytes.fill(0x42);
  at.write("chains/" + device.hex() + ".tls", bytes);
  auto store = CertificateStore::open(at.of("chains"));
  if (!store) return refused(store.failure());
  const auto found = store->find(device);
  if (found && *found) FUZZ_CHECK((*found)->device_id() == device);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Directory at;
  if (size < 1) return 0;
  const proto::Bytes bytes(data + 1, size - 1);
  constexpr void (*kReaders[])(const Directory&, proto::Bytes) = {trust, aliases, requests, pairs, crls, chains};
  kReaders[data[0] % std::size(kReaders)](at, bytes);
  return 0;
}
