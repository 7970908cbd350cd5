// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/candidate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace connd::proto {
namespace {

constexpr std::array<std::pair<std::string_view, CandidateType>, 4> kTypes{{{"host", CandidateType::kHost},
                                                                            {"srflx", CandidateType::kServerReflexive},
                                                                            {"prflx", CandidateType::kPeerReflexive},
                                                                            {"relay", CandidateType::kRelay}}};
constexpr std::array<std::pair<std::string_view, TcpType>, 3> kTcpTypes{
    {{"active", TcpType::kActive}, {"passive", TcpType::kPassive}, {"so", TcpType::kSimultaneousOpen}}};

bool same_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

template <class Table>
auto value_of(const Table& table, std::string_view name) -> std::optional<decltype(table[0].second)> {
  for (const auto& [word, value] : table) {
    if (same_ignoring_case(word, name)) return value;
  }
  return std::nullopt;
}

template <class Table, class Value>
std::string_view name_of(const Table& table, Value value) {
  for (const auto& [word, known] : table) {
    if (known == value) return word;
  }
  return {};
}

/// The words of a line, which one or more spaces part.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}
  /// The next word; empty at the end.
  std::string_view next() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
    const std::string_view word = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(word.size());
    return word;
  }

 private:
  std::string_view rest_;
};

template <class Number>
bool read_number(std::string_view word, Number& out) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc{} && end == word.data() + word.size();
}

// Wider than RFC 8839's ice-char, since some stacks use more: all visible ASCII.
bool is_foundation(std::string_view word) {
  return !word.empty() && word.size() <= Candidate::kMaxFoundationBytes &&
         std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_address(const std::string& word) {
  in6_addr parsed;
  return inet_pton(AF_INET, word.c_str(), &parsed) == 1 || inet_pton(AF_INET6, word.c_str(), &parsed) == 1;
}

std::optional<Transport> read_transport(std::string_view word) {
  if (same_ignoring_case(word, "TCP")) return Transport::kTcp;
  if (same_ignoring_case(word, "UDP")) return Transport::kUdp;
  return std::nullopt;
}

// Names and values in pairs to the end of the line; the only one that matters is tcptype.
bool read_extensions(Words& words, TcpType& tcp_type) {
  for (std::string_view name = words.next(); !name.empty(); name = words.next()) {
    const std::string_view value = words.next();
    if (value.empty()) return false;
    if (!same_ignoring_case(name, "tcptype")) continue;
    const auto known = value_of(kTcpTypes, value);
    if (!known || tcp_type != TcpType::kNone) return false;
    tcp_type = *known;
  }
  return true;
}

}  // namespace

Result<Candidate> parse_candidate(std::string_view line) {
  if (line.size() > Candidate::kMaxLineBytes) return Errc::kTooLong;
  if (line.find('\0') != std::string_view::npos) return Errc::kBadCandidate;
  Words words(line);
  Candidate out;
  out.foundation = words.next();
  unsigned component = 0;
  if (!is_foundation(out.foundation) || !read_number(words.next(), component) || component != 1) {
    return Errc::kBadCandidate;
  }
  const auto transport = read_transport(words.next());
  // RFC 8445, 5.1.2: a priority is "a positive integer between 1 and (2**31 - 1)".
  constexpr std::uint32_t kMaxPriority = 0x7fffffff;
  if (!transport || !read_number(words.next(), out.priority) || out.priority < 1 || out.priority > kMaxPriority) {
    return Errc::kBadCandidate;
  }
  out.transport = *transport;
  out.address = words.next();
  if (!is_address(out.address) || !read_number(words.next(), out.port)) return Errc::kBadCandidate;
  if (!same_ignoring_case(words.next(), "typ")) return Errc::kBadCandidate;
  const auto type = value_of(kTypes, words.next());
  if (!type || !read_extensions(words, out.tcp_type)) return Errc::kBadCandidate;
  out.type = *type;
  if ((out.transport == Transport::kTcp) != (out.tcp_type != TcpType::kNone)) return Errc::kBadCandidate;
  if (out.tcp_type == TcpType::kActive) out.port = Candidate::kDiscardPort;
  if (out.port == 0) return Errc::kBadCandidate;
  return out;
}

std::string to_line(const Candidate& candidate) {
  const bool is_tcp = candidate.transport == Transport::kTcp;
  const bool is_active = candidate.tcp_type == TcpType::kActive;
  std::string out = candidate.foundation;
  out += is_tcp ? " 1 TCP " : " 1 UDP ";
  out += std::to_string(candidate.priority);
  out += ' ';
  out += candidate.address;
  out += ' ';
  out += std::to_string(is_active ? Candidate::kDiscardPort : candidate.port);
  out += " typ ";
  out += name_of(kTypes, candidate.type);
  if (is_tcp) {
    out += " tcptype ";
    out += name_of(kTcpTypes, candidate.tcp_type);
  }
  return out;
}

}  // namespace connd::proto
