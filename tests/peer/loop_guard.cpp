// SPDX-License-Identifier: GPL-3.0-or-later
/// A library to preload: what a thread that runs a libuv loop must not do, for it may wait, is written to the file
/// $LOOP_GUARD, a line each: forcing something to a disk, touching a file below $LOOP_GUARD_DIR, resolving a name, or
/// taking a private key from its text. A thread runs a loop from its call of uv_run to that call's end: what is done
/// before, at the start, is not meant.
///
/// And the disk can be made a bad one: while the file $LOOP_GUARD_DISK says "hang", fsync waits, on whatever thread;
/// while it says "fail", it fails.
///
/// Calls from one library to another pass here, and the daemon's own into its libraries. It needs no rights, as tracing
/// does.
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <sys/syscall.h>
#include <sys/types.h>

namespace {

thread_local int loops = 0;         // calls of uv_run that this thread is in
thread_local bool telling = false;  // what telling does is its own

bool watched() {
  return loops > 0 && !telling;
}

void tell(const char* call, const std::string& what = {}) {
  if (!watched()) return;
  telling = true;
  const char* path = std::getenv("LOOP_GUARD");
  const long fd =
      path != nullptr ? ::syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd >= 0) {
    ::dprintf(static_cast<int>(fd), "%s %s\n", call, what.c_str());
    ::syscall(SYS_close, fd);
  }
  telling = false;
}

/// What the disk is told to be: 'h', 'f', or 0.
char bad_disk() {
  const char* path = std::getenv("LOOP_GUARD_DISK");
  const long fd = path != nullptr ? ::syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  char first = 0;
  (void)!::syscall(SYS_read, fd, &first, 1);
  ::syscall(SYS_close, fd);
  return first;
}

std::string path_of(int fd) {
  char text[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = ::readlink(link.c_str(), text, sizeof text);
  return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : std::string();
}

void tell_file(const char* call, int directory, const char* path) {
  if (!watched() || path == nullptr) return;
  const char* state = std::getenv("LOOP_GUARD_DIR");
  std::string whole = path;
  if (path[0] != '/' && directory != AT_FDCWD) whole = path_of(directory) + "/" + whole;
  if (state != nullptr && whole.starts_with(state)) tell(call, whole);
}

mode_t mode_of(int flags, va_list arguments) {
  const bool has = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return has ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// The functions have names of their own here, and those of the libraries for the linker: headers declare the latter in
// ways that no definition can agree with everywhere.
#define GUARD(result, name, ...)                          \
  extern "C" result guard_##name(__VA_ARGS__) asm(#name); \
  extern "C" result guard_##name(__VA_ARGS__)

// ---- where a loop is ----

struct Opaque;
GUARD(int, uv_run, Opaque* loop, int mode) {
  ++loops;
  const int result = real<int(Opaque*, int)>("uv_run")(loop, mode);
  --loops;
  return result;
}

// ---- the disk ----

GUARD(int, fsync, int fd) {
  if (watched()) tell("fsync", path_of(fd));
  while (bad_disk() == 'h') ::usleep(5'000);
  if (bad_disk() == 'f') {
    errno = EIO;
    return -1;
  }
  return real<int(int)>("fsync")(fd);
}
GUARD(int, fdatasync, int fd) {
  if (watched()) tell("fdatasync", path_of(fd));
  return real<int(int)>("fdatasync")(fd);
}

#define GUARD_OPEN(name)                                               \
  GUARD(int, name, const char* path, int flags, ...) {                 \
    va_list arguments;                                                 \
    va_start(arguments, flags);                                        \
    const mode_t mode = mode_of(flags, arguments);                     \
    va_end(arguments);                                                 \
    tell_file(#name, AT_FDCWD, path);                                  \
    return real<int(const char*, int, ...)>(#name)(path, flags, mode); \
  }
#define GUARD_OPENAT(name)                                                             \
  GUARD(int, name, int directory, const char* path, int flags, ...) {                  \
    va_list arguments;                                                                 \
    va_start(arguments, flags);                                                        \
    const mode_t mode = mode_of(flags, arguments);                                     \
    va_end(arguments);                                                                 \
    tell_file(#name, directory, path);                                                 \
    return real<int(int, const char*, int, ...)>(#name)(directory, path, flags, mode); \
  }
GUARD_OPEN(open)
GUARD_OPEN(open64)
GUARD_OPENAT(openat)
GUARD_OPENAT(openat64)

// What has a path, or two, and nothing that this has to know.
#define GUARD_PATH(result, name, parameters, arguments)                 \
  GUARD(result, name, const char* path parameters) {                    \
    tell_file(#name, AT_FDCWD, path);                                   \
    return real<result(const char* parameters)>(#name)(path arguments); \
  }
#define COMMA ,
GUARD_PATH(int, __open_2, COMMA int flags, COMMA flags)
GUARD_PATH(int, __open64_2, COMMA int flags, COMMA flags)
GUARD_PATH(Opaque*, fopen, COMMA const char* mode, COMMA mode)
GUARD_PATH(Opaque*, fopen64, COMMA const char* mode, COMMA mode)
GUARD_PATH(Opaque*, opendir, , )
GUARD_PATH(int, unlink, , )
GUARD_PATH(int, remove, , )
GUARD_PATH(int, mkdir, COMMA mode_t mode, COMMA mode)
GUARD_PATH(int, rename, COMMA const char* to, COMMA to)
GUARD_PATH(int, statvfs, COMMA Opaque* out, COMMA out)
GUARD(int, mkostemp, char* path, int flags) {
  tell_file("mkostemp", AT_FDCWD, path);
  return real<int(char*, int)>("mkostemp")(path, flags);
}
GUARD(int, mkostemp64, char* path, int flags) {
  tell_file("mkostemp64", AT_FDCWD, path);
  return real<int(char*, int)>("mkostemp64")(path, flags);
}
GUARD(int, unlinkat, int directory, const char* path, int flags) {
  tell_file("unlinkat", directory, path);
  return real<int(int, const char*, int)>("unlinkat")(directory, path, flags);
}
GUARD(int, utimensat, int directory, const char* path, const timespec* times, int flags) {
  tell_file("utimensat", directory, path);
  return real<int(int, const char*, const timespec*, int)>("utimensat")(directory, path, times, flags);
}
GUARD(int, renameat2, int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  tell_file("renameat2", from_directory, from);
  return real<int(int, const char*, int, const char*, unsigned)>("renameat2")(from_directory, from, to_directory, to,
                                                                              flags);
}

// ---- names ----

GUARD(int, getaddrinfo, const char* host, const char* service, const addrinfo* hints, addrinfo** out) {
  const bool numeric = host == nullptr || (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0);
  if (!numeric) tell("getaddrinfo", host);
  return real<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo")(host, service, hints, out);
}
#define GUARD_LOOK_UP(name, Key)                                                                        \
  GUARD(int, name, Key key, Opaque* entry, char* buffer, std::size_t size, Opaque** out) {              \
    tell(#name);                                                                                        \
    return real<int(Key, Opaque*, char*, std::size_t, Opaque**)>(#name)(key, entry, buffer, size, out); \
  }
GUARD_LOOK_UP(getpwnam_r, const char*)
GUARD_LOOK_UP(getpwuid_r, uid_t)
GUARD_LOOK_UP(getgrnam_r, const char*)
GUARD_LOOK_UP(getgrgid_r, gid_t)
GUARD(Opaque*, gethostbyname, const char* host) {
  tell("gethostbyname", host);
  return real<Opaque*(const char*)>("gethostbyname")(host);
}

// ---- private keys ----

GUARD(Opaque*, PEM_read_bio_PrivateKey, Opaque* bio, Opaque** key, void* ask, void* context) {
  tell("PEM_read_bio_PrivateKey");
  return real<Opaque*(Opaque*, Opaque**, void*, void*)>("PEM_read_bio_PrivateKey")(bio, key, ask, context);
}
GUARD(Opaque*, d2i_PKCS8PrivateKey_bio, Opaque* bio, Opaque** key, void* ask, void* context) {
  tell("d2i_PKCS8PrivateKey_bio");
  return real<Opaque*(Opaque*, Opaque**, void*, void*)>("d2i_PKCS8PrivateKey_bio")(bio, key, ask, context);
}
GUARD(int, gnutls_x509_privkey_import, Opaque* key, const void* text, int format) {
  tell("gnutls_x509_privkey_import");
  return real<int(Opaque*, const void*, int)>("gnutls_x509_privkey_import")(key, text, format);
}
GUARD(int, gnutls_x509_privkey_import2, Opaque* key, const void* text, int format, const char* password,
      unsigned flags) {
  tell("gnutls_x509_privkey_import2");
  return real<int(Opaque*, const void*, int, const char*, unsigned)>("gnutls_x509_privkey_import2")(key, text, format,
                                                                                                    password, flags);
}
GUARD(int, gnutls_privkey_decrypt_data, Opaque* key, unsigned flags, const void* in, void* out) {
  tell("gnutls_privkey_decrypt_data");
  return real<int(Opaque*, unsigned, const void*, void*)>("gnutls_privkey_decrypt_data")(key, flags, in, out);
}
GUARD(int, gnutls_privkey_sign_data, Opaque* key, int hash, unsigned flags, const void* in, void* out) {
  tell("gnutls_privkey_sign_data");
  return real<int(Opaque*, int, unsigned, const void*, void*)>("gnutls_privkey_sign_data")(key, hash, flags, in, out);
}
