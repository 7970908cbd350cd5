# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS D2: a stuck channel of a Jami peer, whom nothing but an unread socket can stop."""
import time

from harness import SANITIZER, SCALE, Late
from hostile import Hostile, jami
from traffic import Echo

# proto/limits.h: kHeldMark, kStopTime, and what kSipBytes and kSipInterval let through in that time.
MARK = 8 << 20
STOP_SECONDS = 10
MAX_HELD = MARK + STOP_SECONDS * (4 << 20)
# One message, and more of them than are read before the channel ends.
BODY = 65_535
POUR = (2 * MAX_HELD) // BODY
# Resident, while so much is held.
MAX_GROWTH = MAX_HELD + (8 << 20)
STUCK, ECHO = 1, 3


def echoed(peer, text):
    """A round trip on the peer's echo channel; the seconds that it took."""
    began = time.monotonic()
    peer.plain(jami(ECHO, text)).expect_plain(jami(ECHO, text))
    return time.monotonic() - began


def test_d2_a_stuck_channel_of_a_jami_peer(lab):
    """It slows its connection down for one stop, and then ends; what it held is given back."""
    alice = lab.node("alice").start()
    peer = Hostile.of_jami(lab, alice, 20)
    before = alice.connections()
    alice.api.call("listen.add", uri="stuck", prefix=True)  # and never reads
    with Echo(alice), Late() as late:
        peer.jami_open("echo", ECHO)
        peer.jami_open("stuck 1", STUCK)
        first = alice.api.incoming()
        echoed(peer, b"before")
        alice.forget_peak()
        idle = alice.rss()

        began = time.monotonic()
        peer.say("pour", STUCK, POUR * BODY)
        waited, ended = [], None
        while not (ended := ended or alice.api.find("channel.closed", channel=first.handle)):
            # What is said now waits behind what the kernels hold, and no longer.
            waited.append(echoed(peer, b"beside"))
            alice.api.pump(0)
        end = ended[0]
        took = time.monotonic() - began
        assert end["reason"] == "stalled", end
        assert STOP_SECONDS - 0.3 <= took <= STOP_SECONDS + 2 * SCALE + late.seconds
        growth = alice.peak() - idle
        print(f"stalled after {took:.2f} s; an echo beside it took {max(waited):.2f} s at the most, {len(waited)} of them; "
              f"growth {growth >> 10} KiB")
        assert max(waited) < 3 * SCALE + late.seconds, "a beacon would have waited too long"
        if not SANITIZER:
            assert MARK < growth < MAX_GROWTH, growth

        assert first.receive_all()  # what the kernel had taken before
        peer.jami_open("echo again", 4)
        echoed(peer, b"after")
        assert [c["connection"] for c in alice.connections()] == [c["connection"] for c in before]
    peer.end()
