// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/ice_gate.h"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>

#include "proto/stun.h"

namespace connd::daemon {
namespace {

/// A connectivity check is about 100 bytes; both ufrags can add 513.
constexpr std::size_t kMaxCheck = 1280;

}  // namespace

FirstFrame judge_first_frame(proto::Bytes bytes, std::string_view local_ufrag) {
  if (bytes.size() < proto::kFrameLengthBytes) return FirstFrame::kIncomplete;
  const std::size_t size = proto::load_u16(bytes.data());
  if (size < proto::kStunHeaderBytes || size > kMaxCheck) return FirstFrame::kStranger;
  if (bytes.size() < proto::kFrameLengthBytes + size) return FirstFrame::kIncomplete;
  const auto check = proto::StunView::parse(bytes.subspan(proto::kFrameLengthBytes, size));
  const bool is_request = check && check->is(proto::StunClass::kRequest, proto::StunMethod::kBinding);
  const bool names_us = is_request && proto::receiver_of_check(check->username().value_or("")) == local_ufrag;
  return names_us ? FirstFrame::kPeer : FirstFrame::kStranger;
}

void IceGate::guard(std::vector<NiceAddress> listeners, std::string local_ufrag) {
  listeners_ = std::move(listeners);
  local_ufrag_ = std::move(local_ufrag);
}

bool IceGate::is_ours(int fd) const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return false;
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) return false;
  NiceAddress own;
  nice_address_init(&own);
  nice_address_set_from_sockaddr(&own, reinterpret_cast<sockaddr*>(&storage));
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [&own](const NiceAddress& listener) { return nice_address_equal(&own, &listener); });
}

bool IceGate::is_stranger(int fd) const {
  struct stat info {};
  return fstat(fd, &info) == 0 && strangers_.contains(info.st_ino);
}

bool IceGate::admits(int fd) {
  if (!is_ours(fd)) return true;
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0) {
    return strangers_.size() < kMaxStrangers;
  }
  struct stat info {};
  if (fstat(fd, &info) != 0 || admitted_.contains(info.st_ino)) return true;
  std::array<std::uint8_t, proto::kFrameLengthBytes + kMaxCheck> head;
  const ssize_t seen = recv(fd, head.data(), head.size(), MSG_PEEK | MSG_DONTWAIT);
  const proto::Bytes bytes(head.data(), seen > 0 ? static_cast<std::size_t>(seen) : 0);
  if (judge_first_frame(bytes, local_ufrag_) == FirstFrame::kPeer) {
    strangers_.erase(info.st_ino);
    admitted_.insert(info.st_ino);
    return true;
  }
  // Held back whether it is incomplete or wrong, also when it has hung up: it goes with the agent.
  strangers_.insert(info.st_ino);
  return false;
}

}  // namespace connd::daemon
