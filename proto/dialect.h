// SPDX-License-Identifier: GPL-3.0-or-later
/// Dialect: which of the two protocols a mux speaks. A connection chooses once, after TLS, by ALPN. The mux deals in
/// control::Message and pieces of frames; a dialect writes and reads them, and states what it cannot do.
#pragma once

#include <memory>
#include <vector>

#include "proto/control.h"
#include "proto/frame.h"

namespace connd::proto {

struct DialectRules {
  bool hello = false;       ///< the first control object of each side is a hello, and nothing counts before it
  bool credit = false;      ///< a sender sends no more than it was granted; without it, see Brake
  bool half_close = false;  ///< each direction ends on its own; without it EOF ends both, at once, and is not answered
  bool resets = false;      ///< an abort says why and is answered; without it an abort is an EOF
  bool id_halves = false;   ///< each side requests ids of its own half only
  bool gathers = false;     ///< control objects share frames; without it each is a frame of its own
  bool known_ids = false;   ///< data or EOF for an id that is not open breaks the protocol; without it, it is ignored
};

class Dialect {
 public:
  explicit Dialect(const DialectRules& r) : rules(r) {}
  virtual ~Dialect() = default;
  Dialect(const Dialect&) = delete;
  Dialect& operator=(const Dialect&) = delete;

  virtual FrameCodec& codec() = 0;
  /// The objects of a control piece that codec() made.
  virtual Result<std::vector<control::Message>> decode(const FramePiece& piece) = 0;
  /// Appends the object, framed unless rules.gathers. Nothing for what the dialect cannot say.
  virtual void encode(const control::Message& message, ByteVector& out) = 0;

  const DialectRules rules;
};

std::unique_ptr<Dialect> native_dialect();
std::unique_ptr<Dialect> jami_dialect();

}  // namespace connd::proto
