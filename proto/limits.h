// SPDX-License-Identifier: GPL-3.0-or-later
/// Every maximum and time of the protocol, in both dialects, with its reason. PROTOCOL.md states the same numbers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "proto/time.h"

namespace connd::proto {

// --- Frames ---------------------------------------------------------------------------------------------------------
/// The length field has 16 bits.
inline constexpr std::size_t kMaxFrameBody = 0xffff;
/// Largest body of a data frame that we send: with its 4-byte header it fills exactly four TLS records of 16 KiB.
inline constexpr std::size_t kDataQuantum = 65'532;
/// Largest body that a channel which has just become ready may send before channels that wait longer: one TLS record.
inline constexpr std::size_t kFreshQuantum = 16'380;
/// Control objects are gathered into frames of about this size: one TLS record.
inline constexpr std::size_t kControlFrameTarget = 16'380;
inline constexpr std::uint16_t kControlChannel = 0;
inline constexpr std::uint16_t kReservedChannel = 0xffff;

// --- Ids ------------------------------------------------------------------------------------------------------------
inline constexpr std::uint16_t kClientFirstId = 1;
inline constexpr std::uint16_t kClientLastId = 0x7fff;
inline constexpr std::uint16_t kServerFirstId = 0x8000;
inline constexpr std::uint16_t kServerLastId = 0xfffe;
/// All ids of both halves.
inline constexpr std::uint32_t kMaxChannels = 0xfffe;

// --- Control objects ------------------------------------------------------------------------------------------------
/// A request with its longest name, and a window behind it, fit one frame.
inline constexpr std::size_t kMaxName = 65'000;
/// Text in refuse, reset and goaway is for people; longer is cut.
inline constexpr std::size_t kMaxText = 256;
inline constexpr std::size_t kMaxControlNesting = 4;
/// Elements of one array or map: far more than any object has, and a bound on what a parser allocates per header.
inline constexpr std::size_t kMaxControlElements = 64;
/// Names of requests that wait for an answer, in each direction.
inline constexpr std::size_t kMaxPendingNameBytes = std::size_t{4} << 20;
/// Control bytes that wait to be sent. Answers to a peer that floods and does not read end here.
inline constexpr std::size_t kMaxControlBacklog = std::size_t{16} << 20;

// --- Floods: bucket sizes are bursts, rates are per second, sustained -----------------------------------------------
/// All ids requested at once, twice, and then more than any daemon serves.
inline constexpr std::uint32_t kRequestBurst = 131'072;
inline constexpr std::uint32_t kRequestRate = 20'000;
/// Pings, unknown maps, and late objects for ids that are not open: two for each channel there can be, when all are
/// cancelled at once, and few in the long run.
inline constexpr std::uint32_t kNoiseBurst = 131'072;
inline constexpr std::uint32_t kNoiseRate = 1'000;
/// Windows: a burst for each channel there can be, one with each request and accept, and one for each so many body
/// bytes that we sent. None by time: a peer has no other cause to send one.
inline constexpr std::uint32_t kWindowBurst = 131'072;
inline constexpr std::uint32_t kBytesPerWindow = 256;

// --- Flow control ---------------------------------------------------------------------------------------------------
/// Every channel may be promised this much, whatever the rest does: a small request and answer always pass.
inline constexpr std::uint32_t kMinWindow = 1'024;
/// What a new channel is promised while there is plenty: a bulk transfer starts well, an idle one costs nothing yet.
inline constexpr std::uint32_t kInitialWindow = 64 * 1'024;
inline constexpr std::uint32_t kMaxWindow = 4 * 1'024 * 1'024;
/// What a window may grow to however short the path is: some turns of both daemons' loops and their apps.
inline constexpr std::uint32_t kShortPathWindow = 512 * 1'024;
/// Bytes in a microsecond: 10 Gbit/s. More than this fills of a path's round trip makes queues, not speed: small
/// channels wait behind them, and data is out of the processor's caches before it is read.
inline constexpr std::uint32_t kFillRate = 1'250;
/// Promised plus held, over all channels of a connection, beyond kMinWindow each.
inline constexpr std::uint64_t kMaxConnectionBuffer = std::uint64_t{64} << 20;
/// The sum of credit that a sender may hold for one channel.
inline constexpr std::uint32_t kMaxCredit = 0x7fff'ffff;
/// A window that is used up faster than this doubles: it then holds about half a second of the channel's rate.
inline constexpr Duration kWindowGrowTime = std::chrono::milliseconds(250);
/// A window not used for this long falls back to kInitialWindow.
inline constexpr Duration kWindowIdleTime = std::chrono::seconds(10);

// --- Jami's dialect, which has no credit ----------------------------------------------------------------------------
/// From this much held for one app on its connection is read no faster than apps take, but for sips. A fast link fills
/// a socket's buffers many times over before this.
inline constexpr std::size_t kHeldMark = std::size_t{8} << 20;
/// An app that takes neither half of what is held for it nor kStopTake in this time loses its channel while the
/// connection waits for it: disks and people pause for some seconds.
inline constexpr Duration kStopTime = std::chrono::seconds(10);
/// 52 kB/s: whatever reads for a living is faster. At most half of what is held at the mark, and a few reads: below
/// the mark by this much the brake is off.
inline constexpr std::size_t kStopTake = std::size_t{512} << 10;
/// While apps take less, so much is read in this time all the same, up to the connection's buffer. A peer closes the
/// connection when its beacon gets no answer for 3 s: at 4 MiB/s that is time for what two kernels hold ahead of it.
inline constexpr std::size_t kSipBytes = std::size_t{1} << 20;
inline constexpr Duration kSipInterval = std::chrono::milliseconds(250);
/// A beacon after this long without a byte from the peer: NATs forget a quiet connection sooner than our own keepalive.
inline constexpr Duration kBeaconInterval = std::chrono::seconds(20);
/// The version that we send; from it on a peer answers beacons.
inline constexpr std::uint32_t kJamiVersion = 1;

// --- Life -----------------------------------------------------------------------------------------------------------
/// A ping after this long without a byte from the peer; dead after twice this long.
inline constexpr Duration kKeepaliveInterval = std::chrono::seconds(30);
/// What a peer that is asked out of turn (Mux::probe) has to answer, when that is shorter than the interval: time for
/// the first few retransmissions of a busy path.
inline constexpr Duration kProbeTime = std::chrono::seconds(5);
/// After goaway open channels may finish for this long.
inline constexpr Duration kGoAwayTime = std::chrono::seconds(30);
inline constexpr std::uint32_t kProtocolVersion = 1;

}  // namespace connd::proto
