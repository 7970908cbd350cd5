// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/ice_description.h"

#include <algorithm>

namespace connd::proto {
namespace {

// The next line without its end, LF or CR LF.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Wider than RFC 8839's ice-char: all visible ASCII.
bool is_credential(std::string_view word, std::size_t min_bytes) {
  return word.size() >= min_bytes && word.size() <= IceDescription::kMaxCredentialBytes &&
         std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Which of two is rather kept; of equal ones that which came first.
bool preferred(const Candidate& a, const Candidate& b) {
  if (a.transport != b.transport) return a.transport == Transport::kTcp;
  return a.priority > b.priority;
}

}  // namespace

std::string IceDescription::to_text() const {
  std::string out = ufrag + '\n' + pwd + '\n';
  for (const Candidate& candidate : candidates) out += to_line(candidate) + '\n';
  return out;
}

Result<IceDescription> IceDescription::parse(std::string_view text) {
  if (text.size() > kMaxTextBytes) return Errc::kTooLong;
  IceDescription out;
  out.ufrag = take_line(text);
  out.pwd = take_line(text);
  if (!is_credential(out.ufrag, kMinUfragBytes) || !is_credential(out.pwd, kMinPwdBytes)) {
    return Errc::kBadConnectionRequest;
  }
  auto& kept = out.candidates;
  while (!text.empty()) {
    auto candidate = parse_candidate(take_line(text));
    if (!candidate) continue;
    kept.insert(std::upper_bound(kept.begin(), kept.end(), *candidate, preferred), *candidate);
    if (kept.size() > kMaxCandidates) kept.pop_back();
  }
  return out;
}

}  // namespace connd::proto
