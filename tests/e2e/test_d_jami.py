# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS D2: a stuck channel of a Jami peer, whom nothing but an unread socket can stop."""
import time

from harness import SANITIZER, SCALE, until
from hostile import Hostile, jami
from traffic import Echo

# proto/limits.h: kMaxHeldPerChannel, kStopTime.
MAX_HELD = 8 << 20
STOP_SECONDS = 1.5
# One message, and as many of them as pass the bound, with what the app's socket takes and one turn of the daemon's reads.
BODY = 65_535
POUR = (MAX_HELD + (2 << 20)) // BODY
# Resident, while so much is held; and for the moment in which its buffer grows, and is there twice.
MAX_GROWTH = 16 << 20
MAX_PEAK = 2 * MAX_HELD + (8 << 20)
STUCK, SECOND, ECHO = 1, 2, 3


def echoed(peer, text):
    """A round trip on the peer's echo channel; the seconds that it took."""
    began = time.monotonic()
    peer.plain(jami(ECHO, text)).expect_plain(jami(ECHO, text))
    peer.expect("sent")
    return time.monotonic() - began


def growth_while_held(node, idle):
    """The least of some measures during the stop: at a moment of growth there is more."""
    samples = []

    def enough():
        samples.append(node.rss() - idle)
        return sum(sample > MAX_HELD for sample in samples) >= 10

    until(enough, 10, "it holds what it may")
    return min(sample for sample in samples if sample > MAX_HELD)


def test_d2_a_stuck_channel_of_a_jami_peer(lab):
    """It stops its connection shortly, and then ends; the second one within ten seconds ends at once."""
    alice = lab.node("alice").start()
    peer = Hostile.of_jami(lab, alice, 20)
    before = alice.connections()
    alice.api.call("listen.add", uri="stuck", prefix=True)  # and never reads
    with Echo(alice):
        peer.jami_open("echo", ECHO)
        peer.jami_open("stuck 1", STUCK)
        first = alice.api.incoming()
        peer.jami_open("stuck 2", SECOND)
        second = alice.api.incoming()
        echoed(peer, b"before")
        alice.forget_peak()
        idle = alice.rss()

        began = time.monotonic()
        peer.say("flood", POUR, jami(STUCK, bytes(BODY)).hex())
        growth = 0 if SANITIZER else growth_while_held(alice, idle)
        peer.expect("sent")
        # What is said now waits for as long as nothing is read, and no longer.
        waited = echoed(peer, b"beside")
        end = first.end(20 * SCALE)
        took = time.monotonic() - began
        assert end["reason"] == "stalled", end
        assert STOP_SECONDS - 0.1 <= took <= STOP_SECONDS + 2 * SCALE
        peak = alice.peak() - idle

        began = time.monotonic()
        peer.say("flood", POUR, jami(SECOND, bytes(BODY)).hex()).expect("sent")
        waited_more = echoed(peer, b"once more")
        end = second.end(20 * SCALE)
        assert end["reason"] == "stalled", end
        assert time.monotonic() - began < STOP_SECONDS * SCALE, "there is one stop in ten seconds"
        print(f"stalled after {took:.2f} s, echo waited {waited:.2f} s, then {waited_more:.2f} s; "
              f"growth {growth >> 10} KiB, {peak >> 10} KiB at the most")
        if not SANITIZER:
            assert growth < MAX_GROWTH and peak < MAX_PEAK, (growth, peak)

        assert first.receive_all() and second.receive_all()  # what the kernel had taken before
        peer.jami_open("echo again", 4)
        echoed(peer, b"after")
        assert [c["connection"] for c in alice.connections()] == [c["connection"] for c in before]
    peer.end()
