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

/// A value. The text is ufrag, pwd, and one candidate a line, each line ended by LF.
struct IceDescription {
  /// ICE pairs each of ours with each of theirs and checks them one by one; Jami's peers have been seen with 42.
  static constexpr std::size_t kMaxCandidates = 64;
  /// Room for 512 long lines, of which all but kMaxCandidates are passed over.
  static constexpr std::size_t kMaxTextBytes = std::size_t{64} * 1024;
  /// RFC 8839, section 5.4.
  static constexpr std::size_t kMinUfragBytes = 4;
  static constexpr std::size_t kMinPwdBytes = 22;
  static constexpr std::size_t kMaxCredentialBytes = 256;

  std::string ufrag;
  std::string pwd;
  std::vector<Candidate> candidates;

  [[nodiscard]] std::string to_text() const;
  /// The candidates come in the order of their worth: TCP before UDP, then by priority, then as in the text. Malformed
  /// lines are skipped. Of more than kMaxCandidates the last ones are dropped: TCP is the rule, so UDP lines must not
  /// crowd it out, nor may many lines crowd out those that the peer itself prefers.
  /// Errors: kTooLong (the text), kBadConnectionRequest (ufrag or pwd is missing, or of bad length or characters).
  static Result<IceDescription> parse(std::string_view text);

  friend bool operator==(const IceDescription&, const IceDescription&) = default;
};

}  // namespace connd::proto
