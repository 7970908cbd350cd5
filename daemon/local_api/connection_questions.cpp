// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/connection_questions.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace connd::daemon {
namespace {

double seconds_between(proto::TimePoint begin, proto::TimePoint end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

bool ConnectionQuestions::register_owner(ClientNumber client) {
  if (owner_ != 0 && owner_ != client) return false;
  owner_ = client;
  return true;
}

void ConnectionQuestions::leave(ClientNumber client) {
  if (owner_ != client) return;
  owner_ = 0;
  for (const auto& [question, asked] : std::exchange(questions_, {})) {
    if (manager_ != nullptr) (void)manager_->answer_connection(question, false);
  }
}

bool ConnectionQuestions::ask_connection(const Question& question) {
  const std::string account = question.account ? question.account->hex() : std::string();
  ipc::ConnectionRequested asked{question.number, question.device.hex(), account, ipc::Trust::kUnknown};
  if (owner_ == 0 || !tell_(owner_, "connection.request", ipc::write_members(asked))) return false;
  questions_.emplace(question.number, Asked{question, loop_.now()});
  return true;
}

void ConnectionQuestions::connection_question_over(std::uint64_t number) {
  if (questions_.erase(number) == 0) return;
  (void)tell_(owner_, "connection.request_cancelled",
              ipc::write_members(ipc::RequestCancelled{number, proto::Reason::kTimedOut}));
}

bool ConnectionQuestions::answer(ClientNumber client, bool admin, std::uint64_t question, bool accept) {
  if ((!is_owner(client) && !admin) || questions_.erase(question) == 0) return false;
  if (!is_owner(client)) {
    (void)tell_(owner_, "connection.request_cancelled",
                ipc::write_members(ipc::RequestCancelled{question, proto::Reason::kCancelled}));
  }
  return manager_ != nullptr && manager_->answer_connection(question, accept);
}

ipc::ConnectionRequestsResult ConnectionQuestions::list() const {
  ipc::ConnectionRequestsResult out;
  out.registered = owner_ != 0;
  const proto::TimePoint now = loop_.now();
  for (const auto& [number, asked] : questions_) {
    const Question& question = asked.question;
    out.requests.push_back({number, question.device.hex(), question.account ? question.account->hex() : std::string(),
                            seconds_between(asked.since, now), std::max(0.0, seconds_between(now, question.deadline))});
  }
  return out;
}

}  // namespace connd::daemon
