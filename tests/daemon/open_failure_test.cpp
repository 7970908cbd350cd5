// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/open_failure.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

const proto::TimePoint kNow{1'000h};

bool says(const OpenError& error, const char* words) {
  return error.text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("fault F: without a network, that nobody is found or answers says nothing of the peer") {
  for (const Reason reason : {Reason::kNotFound, Reason::kNoAnswerOrRefused}) {
    CHECK(whose_fault(reason, true) == reason);
    CHECK(whose_fault(reason, false) == Reason::kNoNetwork);
    CHECK(silence_of(reason, {KnownBy::kStore, kNow}, false, kNow).reason == Reason::kNoNetwork);
  }
  CHECK(nothing_found(false).reason == Reason::kNoNetwork);
  CHECK(nothing_found(true).reason == Reason::kNotFound);
  CHECK(whose_fault(Reason::kBanned, false) == Reason::kBanned);
}

TEST_CASE("fault F: who does not answer is told of with what is known of it") {
  const auto silence = [](KnownBy by, std::optional<proto::TimePoint> last_up = {}) {
    const OpenError error = silence_of(Reason::kNoAnswerOrRefused, {by, last_up}, true, kNow);
    CHECK(error.reason == Reason::kNoAnswerOrRefused);
    return error;
  };
  CHECK(says(silence(KnownBy::kCertificate), "certificate is on the DHT"));
  CHECK(says(silence(KnownBy::kAnnouncement), "announced"));
  CHECK(says(silence(KnownBy::kStore), "met it before, and"));
  CHECK(says(silence(KnownBy::kStore, kNow - 59s), "(last connected less than a minute ago)"));
  CHECK(says(silence(KnownBy::kStore, kNow - 3min), "(last connected 3 min ago)"));
  CHECK(says(silence(KnownBy::kStore, kNow - 61min), "(last connected 1 h ago)"));
  CHECK(silence(KnownBy::kNothing).text == proto::reason_info(Reason::kNoAnswerOrRefused).text);
  CHECK(says(silence_of(Reason::kNotFound, {}, true, kNow), "or the id is wrong"));
}

TEST_CASE("an open whose time is over says in which state its attempt was") {
  using proto::ConnectState;
  CHECK(says(timed_out_in(ConnectState::kGathering), "its own addresses"));
  CHECK(says(timed_out_in(ConnectState::kChecking), "no network path"));
  CHECK(says(timed_out_in(ConnectState::kHandshaking), "TLS"));
  CHECK(timed_out_in(ConnectState::kIdle).text == proto::reason_info(Reason::kTimedOut).text);
  for (const auto state : {ConnectState::kGathering, ConnectState::kChecking, ConnectState::kIdle}) {
    CHECK(timed_out_in(state).reason == Reason::kTimedOut);
  }
}
