// SPDX-License-Identifier: GPL-3.0-or-later
/// IceDescription: what one side tells the other to begin ICE; the `ice_msg` text of a connection request (JAMI_WIRE).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proto/candidate.h"
#include "proto/error.h"
#include "proto/result.h"

namespace connd::proto {

/// Where the front door of a daemon is: the one TCP port of its own, through which it is reached, and from which it
/// punches, beside ICE (daemon/path/front_door.h). A line of its own form, which is no candidate to an ICE library:
/// `jc-door:KIND:ADDRESS:PORT`, without spaces.
struct Door {
  enum class Kind : std::uint8_t {
    kHost,    ///< an address of the machine
    kMapped,  ///< what a NAT makes of connections from there
  };
  Kind kind = Kind::kHost;
  std::string address;  ///< IPv4 or IPv6 literal, bare, without zone
  std::uint16_t port = 0;

  friend bool operator==(const Door&, const Door&) = default;
};

/// A value. The text is ufrag, pwd, and one candidate or door a line, each line ended by LF.
struct IceDescription {
  /// ICE pairs each of ours with each of theirs and checks them one by one; Jami's peers have been seen with 42.
  static constexpr std::size_t kMaxCandidates = 64;
  /// A machine has a few addresses, and its NAT a mapping or two; the peer tries eight.
  static constexpr std::size_t kMaxDoors = 16;
  /// Room for 512 long lines, of which all but kMaxCandidates are passed over.
  static constexpr std::size_t kMaxTextBytes = std::size_t{64} * 1024;
  /// RFC 8839, section 5.4.
  static constexpr std::size_t kMinUfragBytes = 4;
  static constexpr std::size_t kMinPwdBytes = 22;
  static constexpr std::size_t kMaxCredentialBytes = 256;

  std::string ufrag;
  std::string pwd;
  std::vector<Candidate> candidates;
  std::vector<Door> doors{};  ///< in the sender's order

  [[nodiscard]] std::string to_text() const;
  /// The candidates come in the order of their worth: TCP before UDP, then by priority, then as in the text. Malformed
  /// lines are skipped. Of more than kMaxCandidates the last ones are dropped: TCP is the rule, so UDP lines must not
  /// crowd it out, nor may many lines crowd out those that the peer itself prefers. Of doors the first kMaxDoors count.
  /// Errors: kTooLong (the text), kBadConnectionRequest (ufrag or pwd is missing, or of bad length or characters).
  static Result<IceDescription> parse(std::string_view text);

  friend bool operator==(const IceDescription&, const IceDescription&) = default;
};

}  // namespace connd::proto
