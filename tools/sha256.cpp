// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/sha256.h"

#include <new>

namespace connd::tools {
namespace {

void check(bool done) {
  if (!done) throw std::bad_alloc();
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void Sha256::update(proto::Bytes bytes) {
  check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

FileSum Sha256::finish() {
  FileSum sum{};
  check(EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr) == 1);
  return sum;
}

}  // namespace connd::tools
