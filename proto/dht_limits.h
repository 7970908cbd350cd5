// SPDX-License-Identifier: GPL-3.0-or-later
/// Every maximum and time of the gate before OpenDHT, with its reason. DHT_GATE.md states the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "proto/time.h"

namespace connd::proto {

// --- One datagram ---------------------------------------------------------------------------------------------------
/// What fits into UDP over IPv4. OpenDHT keeps to 1,280 bytes but for an answer of fields, which is one datagram
/// however many they are.
inline constexpr std::size_t kMaxDhtDatagram = 65'507;
/// A value's body is at depth 6 (message, request, values, value, dat, body); unknown members may go a little further.
inline constexpr std::size_t kMaxDhtDepth = 12;
/// Objects in one datagram. A node keeps at most 1,024 values under a key, and a value has at most 5 fields.
inline constexpr std::size_t kMaxDhtElements = 8'192;
/// Members of a map that has names: the largest known one has 18.
inline constexpr std::size_t kMaxDhtMembers = 64;
/// The agent (`v`) is "RNG1" and a few letters more.
inline constexpr std::size_t kMaxDhtAgent = 256;
/// A token is a hash: 64 bytes in OpenDHT 2, 32 before.
inline constexpr std::size_t kMaxDhtToken = 256;
/// Nodes told in one answer, of each family: OpenDHT sends 8.
inline constexpr std::size_t kMaxDhtNodes = 32;
/// Values in one message, whole ones or sizes, and ids of values: what a node keeps under one key.
inline constexpr std::size_t kMaxDhtValues = 1'024;
/// Parts in one datagram; OpenDHT sends one.
inline constexpr std::size_t kMaxDhtPartsOfDatagram = 8;
/// Filters of one query (`w` of `q`): one for each field, twice.
inline constexpr std::size_t kMaxDhtFilters = 16;
/// Seconds since 1970: the year 2514. OpenDHT counts in nanoseconds, and does not look whether that overflows.
inline constexpr std::uint64_t kMaxDhtTime = std::uint64_t{1} << 34;

// --- One value ------------------------------------------------------------------------------------------------------
/// OpenDHT's MAX_VALUE_SIZE and 32 bytes for what is around it: sizes above are none to it.
inline constexpr std::size_t kMaxDhtValue = 64 * 1'024 + 32;
/// DER of an owner's public key: RSA of 8,192 bits is 1,062 bytes. Checking a signature costs OpenDHT's one thread time
/// that grows with the cube of it.
inline constexpr std::size_t kMaxDhtOwnerKey = 1'200;
inline constexpr std::size_t kMaxRsaModulusBytes = 1'024;
/// 65,537 has three bytes. With an exponent as long as the modulus one signature takes seconds.
inline constexpr std::size_t kMaxRsaExponentBytes = 4;

// --- Ids of signed values -------------------------------------------------------------------------------------------
/// 512 KiB for each of two times, and only when there are any: at one signed value a second a third of it is used.
inline constexpr std::size_t kSignedIdBits = std::size_t{1} << 22;
/// Longer than the week for which OpenDHT's types keep a value at most; each renewal counts.
inline constexpr Duration kSignedIdTime = std::chrono::hours(8 * 24);
/// Lengths of those that were put: as many as the keys that a node keeps by default. 1 MB, and only when there are any.
inline constexpr std::size_t kMaxSignedLengths = 16'384;

// --- Values that come in parts --------------------------------------------------------------------------------------
/// Of the values of one message together, the longest ones beyond are cut out: 32 of the largest fit.
inline constexpr std::size_t kMaxDhtAssembledValues = std::size_t{2} << 20;
/// What stands in the place of a value that is put and refused (dht_keep.cpp).
inline constexpr std::size_t kMaxDhtInstead = 64;
/// A whole message made of its parts: its values, and the datagram that announced them.
inline constexpr std::size_t kMaxDhtAssembled =
    kMaxDhtAssembledValues + kMaxDhtDatagram + kMaxDhtValues * kMaxDhtInstead;
/// Messages that wait for parts. Answers to requests of ours are counted apart from what strangers send unasked.
inline constexpr std::size_t kMaxPartRecords = 512;
inline constexpr std::size_t kMaxPartRecordsOfAddress = 32;
/// Bytes that have come for them; nothing is reserved for what was only announced.
inline constexpr std::size_t kMaxAskedPartBytes = std::size_t{16} << 20;
inline constexpr std::size_t kMaxAskedPartBytesOfAddress = std::size_t{4} << 20;
/// Of those that were not asked for: values to be kept for others, a quarter.
inline constexpr std::size_t kMaxUnaskedPartBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMaxUnaskedPartBytesOfAddress = std::size_t{1} << 20;
/// OpenDHT's RX_TIMEOUT and RX_MAX_PACKET_TIME: between two parts, and for all of them.
inline constexpr Duration kPartIdleTime = std::chrono::seconds(3);
inline constexpr Duration kPartLifeTime = std::chrono::seconds(10);

// --- What is sent to addresses that may be forged -------------------------------------------------------------------
/// RFC 9000, section 8.1: at most three times the bytes that came from an address that has not proved itself.
inline constexpr std::uint32_t kUnprovedFactor = 3;
/// Bytes that such an address may have to its credit: many datagrams saved up make no large answer.
inline constexpr std::uint32_t kMaxUnprovedCredit = 16 * 1'024;
/// Addresses of which anything is known without proof; a flood of forged ones replaces the oldest.
inline constexpr std::size_t kMaxUnproved = 4'096;
/// After this long an unproved address is as new.
inline constexpr Duration kUnprovedTime = std::chrono::minutes(15);
/// Addresses that have proved themselves: a node of the public network speaks to some hundred within that time.
inline constexpr std::size_t kMaxProved = 4'096;
/// Of these in one IPv4 /24 or IPv6 /48: who has a network of his own replaces his own.
inline constexpr std::size_t kMaxProvedOfPrefix = 256;
/// OpenDHT takes a node for good that has answered within two hours and spoken within ten minutes.
inline constexpr Duration kProvedTime = std::chrono::minutes(10);
/// Until the answer to a ping has to be there. Who asked us asks again after one second, at most three times.
inline constexpr Duration kHeldTime = std::chrono::seconds(3);
/// From the first ping without an answer to the next, and twice as long each time, to a minute.
inline constexpr Duration kPingInterval = std::chrono::seconds(1);
inline constexpr unsigned kMaxPingDoublings = 6;
/// Answers to nothing that one ping survives: to guess its 32 bits takes two years at a ping a second.
inline constexpr std::uint32_t kMaxWrongPongs = 64;
/// An answer with twenty chains. A larger one is not kept; its asker gets it when it asks again, proved.
inline constexpr std::size_t kMaxHeldBytesOfAddress = 128 * 1'024;
inline constexpr std::size_t kMaxHeldDhtBytes = std::size_t{4} << 20;
/// To one IPv4 address or IPv6 /64, of all but our own small requests. 32 values of 60 kB, or 250 chains, at once.
inline constexpr std::uint32_t kSendBurstBytes = 2U << 20;
/// And in the long run: a tenth of a slow uplink.
inline constexpr std::uint32_t kSendBytesPerSecond = 128 * 1'024;
inline constexpr std::size_t kMaxSendBuckets = 4'096;

}  // namespace connd::proto
