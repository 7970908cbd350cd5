// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelEnding: how a channel ends, as one table. What an app does with its end, what the peer says and what the
/// local API asks go in as facts; what is to be done about it comes out, one action at a time. No descriptor, no clock.
///
/// The two directions end on their own. Ours (app to peer) ends with the app's EOF or, with `strict`, only by finish():
/// every other end is an abort. The peer's ends when the app has taken all of it, and then sees EOF itself.
///
/// Where the dialect has no half close, the end of our direction is held back until the app has closed its end for
/// good, and ends both; the peer's end ends ours too, and what the app had written then is lost.
#pragma once

#include <cstdint>
#include <string_view>

namespace connd::proto {

/// Our direction, from the app to the peer.
enum class OurHalf : std::uint8_t {
  kOpen,
  kFinishing,  ///< finish() was said: it ends when what the app wrote before is read
  kHeldBack,   ///< complete, and the peer cannot be told before the app needs no answer any more
  kEnded,
};
/// The peer's direction.
enum class PeersHalf : std::uint8_t {
  kOpen,
  kEnding,  ///< complete, and the app has not taken all of it
  kEnded,
};
std::string_view name_of(OurHalf half);
std::string_view name_of(PeersHalf half);

class ChannelEnding {
 public:
  enum class Action : std::uint8_t {
    kNone,
    kSayEnd,       ///< the peer is told that no more comes of ours
    kShutWrite,    ///< the app is shown the peer's end
    kShutBoth,     ///< the same; nothing is read of the app any more: lost() if it had written something
    kAwaitFinish,  ///< the app has closed its end, and finish() may be on its way: finish_is_late() after a while
    // The channel is over; nothing follows.
    kClosed,       ///< well
    kNotFinished,  ///< abort: the app ended without finish()
    kAppGone,      ///< abort: the app closed its end, and did not take everything
    kNotTaken,     ///< abort: the peer ended before it had taken everything
  };

  /// `strict`: our direction ends by finish() alone. `half_close`: a direction can end alone.
  ChannelEnding(bool strict, bool half_close) : strict_(strict), half_close_(half_close) {}

  // ---- facts; after each, next() until it says kNone ----

  /// The app's EOF was read: it writes no more.
  void app_ended() { eof_ = true; }
  /// Its end is closed, not just shut down.
  void app_closed() { closed_ = true; }
  /// The same, with bytes for it that it did not take.
  void app_broken() { broken_ = true; }
  /// All that it has written so far was read.
  void all_read() { dry_ = ours_ == OurHalf::kFinishing; }
  /// From the local API. True: read up to the end of what the app has written. False: there is nothing to end.
  bool finish();
  void finish_is_late() { late_ = true; }
  void peer_ended();
  /// The app had written what will not be read.
  void lost() { lost_ = true; }
  /// It was ended by something else.
  void end() { over_ = true; }

  /// What is to be done next. `taken`: the app has taken all that has come for it; `attached`: it has its end.
  Action next(bool taken, bool attached);

  [[nodiscard]] OurHalf ours() const { return ours_; }
  [[nodiscard]] PeersHalf peers() const { return peers_; }
  [[nodiscard]] bool over() const { return over_; }
  /// Our direction is complete: nothing is read of the app any more.
  [[nodiscard]] bool complete() const { return eof_ || ours_ >= OurHalf::kHeldBack; }
  [[nodiscard]] bool finishing() const { return ours_ == OurHalf::kFinishing; }
  /// Both directions have ended well; only the app may not have taken everything.
  [[nodiscard]] bool ended_on_wire() const { return ours_ == OurHalf::kEnded && peers_ != PeersHalf::kOpen; }

 private:
  [[nodiscard]] unsigned facts(bool taken, bool attached) const;

  const bool strict_;
  const bool half_close_;
  OurHalf ours_ = OurHalf::kOpen;
  PeersHalf peers_ = PeersHalf::kOpen;
  bool eof_ = false;
  bool dry_ = false;
  bool closed_ = false;
  bool broken_ = false;
  bool cut_ = false;  ///< the peer's end has cut off what the app had written
  bool lost_ = false;
  bool late_ = false;
  bool awaited_ = false;
  bool over_ = false;
};

}  // namespace connd::proto
