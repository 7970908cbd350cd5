# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS E3 and E5: the network changes, the machine sleeps."""
import time

from harness import FULL, SCALE, Deadline, Late, until
from traffic import Echo, Sender, joined, round_trip, subscribed

# proto/limits.h, kProbeTime.
PROBE_SECONDS = 5


def test_e3_address_change_is_noticed_probed_and_redialled(netns, lab):
    # Keepalive would take a minute: what is noticed sooner is noticed by netlink.
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e3")
    events, of_bob = subscribed(alice), subscribed(bob)
    first = alice.connections(bob)[0]
    alice.move()
    moved = time.monotonic()
    while alice.address not in events.event("network.changed", 10)["addresses"]:
        pass  # gone, not yet come: told apart on a slow machine
    assert alice.status()["metrics"]["network_changes"] >= 1
    # The next open does not wait for the old connection: its address is gone.
    with Echo(bob), Late() as late:
        began = time.monotonic()
        channel = alice.api.open(bob.device, "echo")
        assert time.monotonic() - began < PROBE_SECONDS * SCALE + late.seconds, "nor for its probe"
        assert round_trip(channel, b"moved") == b"moved"
        second = [c for c in alice.connections(bob) if c["connection"] != first["connection"]]
        assert [c["local_address"].split(":")[0] for c in second] == [alice.address]
        # The old one was probed at once, by both: by bob because alice called anew.
        assert here.end(30)["reason"] == "connection-lost"
        assert there.end(30)["reason"] == "connection-lost"
        assert time.monotonic() - moved < PROBE_SECONDS * 4 * SCALE + late.seconds, "not by keepalive"
    for client, handle in ((events, first["connection"]), (of_bob, None)):
        closed = client.event("connection.closed", 20)
        assert closed["reason"] == "connection-lost" and handle in (None, closed["connection"])


def test_e3_the_other_side_opens_to_who_has_moved_and_said_nothing(netns, lab):
    """It knows of nothing: its open asks the old connection for a sign of life, and is dialled anew when there is none."""
    alice, bob = lab.pair()
    here, there = joined(bob, alice, "e3 moved")
    quiet = Deadline(PROBE_SECONDS)
    until(quiet.passed, 2 * PROBE_SECONDS, "it has been silent")
    first = bob.connections(alice)[0]
    alice.move()
    with Echo(alice), Late() as late:
        began = time.monotonic()
        channel = bob.api.open(alice.device, "echo")
        took = time.monotonic() - began
        assert round_trip(channel, b"found") == b"found"
        assert PROBE_SECONDS * 0.9 <= took < 3 * PROBE_SECONDS * SCALE + late.seconds, took
        assert first["connection"] not in [c["connection"] for c in bob.connections(alice)]
        assert here.end(10)["reason"] == there.end(30)["reason"] == "connection-lost"


def test_e3_a_further_address_harms_nothing(netns, lab):
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e3 more")
    events = subscribed(alice)
    alice.add_address("10.78.0.9/24")
    assert "10.78.0.9" in events.event("network.changed", 10)["addresses"]
    before = alice.connections(bob)[0]
    # The probe's answer is a byte in; and the connection goes on.
    until(lambda: alice.connections(bob)[0].get("rtt_ms") is not None, 10 * SCALE, "the probe was answered")
    here.send(b"unharmed")
    assert there.receive(8) == b"unharmed"
    assert [c["connection"] for c in alice.connections(bob)] == [before["connection"]]


def test_e5_suspend_and_resume(lab):
    """Suspended while the network goes: what is dead is noticed soon after, not by the next keepalive."""
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e5")
    events = subscribed(alice)
    alice.freeze()
    # What lies in her socket when she wakes is no sign that the peer still lives.
    sender = Sender(there, None)
    sender.start()
    asleep = Deadline(60 if FULL else 4)
    until(asleep.passed, 90, "asleep")
    if lab.mode == "netns":
        bob.cut()  # not even its kernel answers any more
    else:
        bob.kill()
    with Late() as late:
        alice.thaw()
        woke = time.monotonic()
        assert here.end(4 * PROBE_SECONDS * SCALE)["reason"] == "connection-lost"
        assert events.event("connection.closed", 20, peer=bob.device)["reason"] == "connection-lost"
        assert time.monotonic() - woke <= PROBE_SECONDS + 2 * SCALE + late.seconds
    if lab.mode == "netns":
        bob.kill()
        bob.mend()
    sender.join(60 * SCALE)
    bob.start()
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"awake") == b"awake"


def test_e5_a_short_sleep_breaks_nothing(lab):
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e5 short")
    for sleeper, other in ((alice, bob), (bob, alice)):
        assert sleeper.connections(other)[0].get("rtt_ms") is None, "nothing was asked before"
        sleeper.freeze()
        asleep = Deadline(4)
        until(asleep.passed, 6, "asleep")
        sleeper.thaw()
        until(lambda s=sleeper, o=other: s.connections(o)[0].get("rtt_ms") is not None, 10 * SCALE, "it asked on waking, and was answered")
    here.send(b"slept well")
    assert there.receive(10) == b"slept well"
    assert len(alice.connections(bob)) == 1
