// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Every bound of the local API, with its reason. They are part of the contract: ipc/PROTOCOL.md, "Limits".
#pragma once

#include <cstddef>
#include <cstdint>

namespace connd::ipc {

/// Version of the API that `hello` states. It grows by one when a client of the version before would be misled; new
/// methods, members, events and reasons do not change it.
inline constexpr std::uint64_t kApiVersion = 1;

/// Longest line, without its LF: room for a channel uri of 65,000 bytes with each byte escaped as \u00XX, twice over.
inline constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;
/// Of these, a request has at most so many, unless its method comes first and takes long text: any other method's
/// longest text, with each byte escaped, fits ten times.
inline constexpr std::size_t kMaxPlainLineBytes = std::size_t{64} << 10;
/// channel.open and listen.add: one uri, each byte escaped, and 64 names of peers.
inline constexpr std::size_t kMaxNameLineBytes = std::size_t{512} << 10;
/// identity.sign and identity.import: PEM of 128 KiB, its line ends and some letters escaped.
inline constexpr std::size_t kMaxPemLineBytes = std::size_t{256} << 10;
/// Brackets and commas of a request: the most that a method takes is a list of 64 peers. What is built of a line is
/// built before anybody knows what it is, and an element costs 30 times what its three bytes do.
inline constexpr std::size_t kMaxRequestElements = 256;
/// One read from a control socket; several hundred ordinary lines.
inline constexpr std::size_t kReadChunkBytes = std::size_t{64} << 10;
/// Deepest nesting of objects and arrays in a line. The API itself needs 5; the bound keeps recursion in the JSON
/// library shallow whatever a stranger sends.
inline constexpr std::size_t kMaxNesting = 32;
/// Unsent output of one end: a snapshot of all channels of a full daemon fits; a client that does not read is dropped.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{8} << 20;

/// Requests of one client without an answer: thousands of opens at once are a use, more are a mistake.
inline constexpr std::size_t kMaxRequestsInFlight = 4096;

/// fds that one message may carry.
inline constexpr std::uint64_t kMaxFdsPerMessage = 1;
/// fds that were sent to a client which has not read them yet: the kernel bounds these per user, over all sockets.
inline constexpr std::size_t kMaxUncollectedFds = 64;

/// Handles and other numbers stay below 2^53, so that a reader whose only number is a double reads them exactly.
inline constexpr std::uint64_t kMaxSafeInteger = (std::uint64_t{1} << 53) - 1;
/// A request id that is a string: a UUID with a prefix fits.
inline constexpr std::size_t kMaxIdBytes = 128;
inline constexpr std::size_t kMaxMethodBytes = 64;
/// As proto/ has it: a channel's name is 0 to 65,000 bytes of UTF-8.
inline constexpr std::size_t kMaxUriBytes = 65'000;
/// Aliases, client names and versions: one line of a terminal.
inline constexpr std::size_t kMaxNameBytes = 128;
/// Of the scope of a trust entry: uris, and their bytes together.
inline constexpr std::size_t kMaxScopeUris = 32;
inline constexpr std::size_t kMaxScopeBytes = 4'096;
/// Free text of a decline; it travels to the peer.
inline constexpr std::size_t kMaxTextBytes = 1024;
/// A certificate chain as PEM: as proto/ has it.
inline constexpr std::size_t kMaxChainBytes = std::size_t{64} << 10;
/// A certificate revocation list as PEM: about 10,000 entries, and it fits into a line.
inline constexpr std::size_t kMaxCrlBytes = std::size_t{600} << 10;
/// Devices that one listener may name.
inline constexpr std::size_t kMaxListenerPeers = 64;
/// Items of a list that a reader accepts: what fits into a line anyway.
inline constexpr std::size_t kMaxListItems = kMaxLineBytes / 2;
/// Items of one page of a list: making it takes the daemon a millisecond or two.
inline constexpr std::size_t kMaxPageItems = 256;
/// Seconds.
inline constexpr double kMinTimeout = 0.001;
inline constexpr double kMaxTimeout = 3600;
inline constexpr double kDefaultTimeout = 30;
/// A token of channel.attach: 128 bits in hex digits.
inline constexpr std::size_t kTokenDigits = 32;

}  // namespace connd::ipc
