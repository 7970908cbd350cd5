// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/ice_description.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <arpa/inet.h>

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

constexpr std::string_view kDoorPrefix = "jc-door:";
constexpr std::array<std::pair<std::string_view, Door::Kind>, 2> kDoorKinds = {
    {{"host", Door::Kind::kHost}, {"mapped", Door::Kind::kMapped}}};

bool is_literal(const std::string& text) {
  std::array<std::uint8_t, 16> parsed{};
  return inet_pton(AF_INET, text.c_str(), parsed.data()) == 1 || inet_pton(AF_INET6, text.c_str(), parsed.data()) == 1;
}

// Behind the prefix: KIND:ADDRESS:PORT. A kind that is not known is a later version's.
std::optional<Door> parse_door(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t last = text.rfind(':');
  if (text.size() > Candidate::kMaxLineBytes || first == std::string_view::npos || first == last) return std::nullopt;
  Door out;
  const auto kind = std::find_if(kDoorKinds.begin(), kDoorKinds.end(),
                                 [&](const auto& one) { return one.first == text.substr(0, first); });
  out.address = text.substr(first + 1, last - first - 1);
  const std::string_view port = text.substr(last + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  const bool has_port = error == std::errc{} && end == port.data() + port.size() && out.port != 0;
  if (kind == kDoorKinds.end() || !has_port || !is_literal(out.address)) return std::nullopt;
  out.kind = kind->second;
  return out;
}

std::string to_line(const Door& door) {
  const std::string_view kind = kDoorKinds[static_cast<std::size_t>(door.kind)].first;
  return std::string(kDoorPrefix) + std::string(kind) + ':' + door.address + ':' + std::to_string(door.port);
}

}  // namespace

std::string IceDescription::to_text() const {
  std::string out = ufrag + '\n' + pwd + '\n';
  for (const Candidate& candidate : candidates) out += proto::to_line(candidate) + '\n';
  for (const Door& door : doors) out += to_line(door) + '\n';
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
    const std::string_view line = take_line(text);
    if (line.starts_with(kDoorPrefix)) {
      auto door = parse_door(line.substr(kDoorPrefix.size()));
      if (door && out.doors.size() < kMaxDoors) out.doors.push_back(*std::move(door));
      continue;
    }
    auto candidate = parse_candidate(line);
    if (!candidate) continue;
    kept.insert(std::upper_bound(kept.begin(), kept.end(), *candidate, preferred), *candidate);
    if (kept.size() > kMaxCandidates) kept.pop_back();
  }
  return out;
}

}  // namespace connd::proto
