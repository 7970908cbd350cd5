// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/turn_queue.h"

#include <algorithm>

namespace connd::daemon {

void TurnClient::request_turn() {
  if (queued_) return;
  queued_ = true;
  queue_.clients_.push_back(this);
}

TurnClient::~TurnClient() {
  if (!queued_) return;
  std::replace(queue_.clients_.begin(), queue_.clients_.end(), this, static_cast<TurnClient*>(nullptr));
  std::replace(queue_.running_.begin(), queue_.running_.end(), this, static_cast<TurnClient*>(nullptr));
}

void TurnQueue::run() {
  running_.swap(clients_);
  for (std::size_t i = 0; i < running_.size(); ++i) {  // by index: a client may go, or a new one may come, meanwhile
    TurnClient* client = running_[i];
    if (client == nullptr) continue;
    client->queued_ = false;
    running_[i] = nullptr;
    if (client->on_turn()) client->request_turn();
  }
  running_.clear();
  before_wait_.keep_awake(!clients_.empty());
}

}  // namespace connd::daemon
