// SPDX-License-Identifier: GPL-3.0-or-later
/// Sha256: the sum of bytes that come piece by piece.
#pragma once

#include <memory>

#include <openssl/evp.h>

#include "tools/file_wire.h"

namespace connd::tools {

class Sha256 {
 public:
  /// Throws std::bad_alloc, as do the others, when OpenSSL can do nothing: it has no other reason here.
  Sha256();
  void update(proto::Bytes bytes);
  /// Ends it; nothing may be added after.
  [[nodiscard]] FileSum finish();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace connd::tools
