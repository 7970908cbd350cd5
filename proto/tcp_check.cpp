// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tcp_check.h"

namespace connd::proto {
namespace {

/// RFC 8445, 5.1.2.1: what a peer-reflexive candidate would have (type preference 110, local preference 65535,
/// component 1). Only an ICE library at the other end makes anything of it.
constexpr std::uint32_t kCheckPriority = (110U << 24) | (65'535U << 8) | 255U;

void append(ByteVector& out, const ByteVector& bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

TcpCheck::TcpCheck(CheckCredentials credentials, bool controlling, const IpEndpoint& peer, const Chance& chance)
    : credentials_(std::move(credentials)), controlling_(controlling), peer_(peer), chance_(chance) {}

void TcpCheck::start() {
  if (started_ || state_ == State::kFailed || credentials_.remote_ufrag.empty()) return;
  started_ = true;
  // RFC 8445, 7.2.2: USERNAME, PRIORITY, the role's attribute, and USE-CANDIDATE of the controlling side alone.
  StunWriter request(StunClass::kRequest, StunMethod::kBinding, chance_.transaction);
  request.add(StunAttribute::kUsername, check_username(credentials_.remote_ufrag, credentials_.local_ufrag));
  request.add_u32(StunAttribute::kPriority, kCheckPriority);
  request.add_u64(controlling_ ? StunAttribute::kIceControlling : StunAttribute::kIceControlled, chance_.tie_breaker);
  if (controlling_) request.add_flag(StunAttribute::kUseCandidate);
  append(output_, as_frame(request.add_integrity(credentials_.remote_pwd).add_fingerprint().take()));
}

TcpCheck::Step TcpCheck::feed(Bytes bytes) {
  Step step;
  while (state_ == State::kChecking) {
    const Bytes rest = bytes.subspan(step.used);
    if (rest.size() < kFrameLengthBytes) return step;
    const std::size_t size = load_u16(rest.data());
    // Nothing but STUN comes before the connection is selected.
    if (size < kStunHeaderBytes || size > kMaxStunBytes || ++messages_ > kMaxMessages) {
      state_ = State::kFailed;
      return step;
    }
    if (rest.size() < kFrameLengthBytes + size) {
      --messages_;
      return step;
    }
    const Bytes message = rest.subspan(kFrameLengthBytes, size);
    const auto view = StunView::parse(message);
    if (!view) {
      state_ = State::kFailed;
      return step;
    }
    if (view->is(StunClass::kRequest, StunMethod::kBinding)) {
      const std::string_view wanted = receiver_of_check(view->username().value_or(""));
      if (wanted != credentials_.local_ufrag) {
        step.other = kFrameLengthBytes + size;
        step.other_ufrag = wanted;
        return step;
      }
    }
    step.used += kFrameLengthBytes + size;
    on_message(message, *view);
  }
  return step;
}

void TcpCheck::on_message(Bytes message, const StunView& view) {
  if (view.kind() == StunClass::kRequest) return on_request(message, view);
  // RFC 8489, 6.3.3: an answer to nothing is dropped; so is an indication.
  if (view.kind() == StunClass::kIndication || !started_ || view.transaction() != chance_.transaction) return;
  // An error to a check without credentials carries none (RFC 8489, 9.1.4): whoever sends it, the check has failed.
  if (view.kind() == StunClass::kError || !view.has_integrity(credentials_.remote_pwd)) {
    state_ = State::kFailed;
  } else if (controlling_) {
    state_ = State::kSelected;
  }
}

void TcpCheck::on_request(Bytes message, const StunView& view) {
  // RFC 8445, 7.3: the username is the one that the two descriptions make, and the password ours. (5.3: it may come
  // before the other description.)
  const std::string whole = check_username(credentials_.local_ufrag, credentials_.remote_ufrag);
  const bool named = credentials_.remote_ufrag.empty() || view.username() == whole;
  const auto answer = named ? stun_binding_response(message, peer_, credentials_.local_pwd) : std::nullopt;
  if (!answer) {
    state_ = State::kFailed;
    return;
  }
  append(output_, as_frame(*answer));
  if (!controlling_ && view.has(StunAttribute::kUseCandidate)) {
    state_ = State::kSelected;
  } else {
    start();  // RFC 8445, 7.3.1.4: a triggered check
  }
}

}  // namespace connd::proto
