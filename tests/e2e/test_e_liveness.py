# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS E: liveness. E3 and E5 are in test_e_changes.py."""
import time

from harness import SCALE, Deadline, Late, until
from traffic import Echo, joined, round_trip, subscribed


def test_e1_silent_peer_is_dead_within_twice_the_interval(lab):
    keepalive = 2
    alice, bob = lab.pair("--keepalive", str(keepalive))
    here, _ = joined(alice, bob, "e1")
    events = subscribed(alice)
    with Late() as late:
        bob.freeze()
        frozen = time.monotonic()
        end = here.end(30)
        # Its last byte may have come a moment before; a loop turn, and this process, take theirs.
        assert time.monotonic() - frozen <= 2 * keepalive + 0.5 * SCALE + late.seconds
    assert end["reason"] == "connection-lost"
    assert events.event("connection.closed", peer=bob.device)["reason"] == "connection-lost"
    assert alice.status()["metrics"]["connections_timed_out"] == 1
    bob.thaw()
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"thawed") == b"thawed"


def test_e1_keepalive_holds_an_idle_connection(lab):
    """Who has heard nothing for its interval asks, as caller or as called, and is answered; over some intervals nothing ends."""
    bob = lab.node("bob")  # his interval is long: he does not ask
    askers = alice, carol = [lab.node(name, "--keepalive", "1") for name in ("alice", "carol")]
    for node in (bob, *askers):
        node.start(ready=False)
    for node in (bob, *askers):
        node.wait_ready()
    bob.allow(*askers)
    carol.allow(bob)
    ends = [joined(alice, bob, "e1 idle"), joined(bob, carol, "e1 idle")]
    before = [node.connections(bob)[0] for node in askers]
    assert [c["direction"] for c in before] == ["outgoing", "incoming"]
    for node, first in zip(askers, before, strict=True):
        until(lambda node=node: node.connections(bob)[0].get("rtt_ms") is not None, 20 * SCALE, "a keepalive was answered")
        more = first["bytes_in"] + 120
        until(lambda node=node, more=more: node.connections(bob)[0]["bytes_in"] > more, 20 * SCALE, "more of them")
    assert [c.get("rtt_ms") for c in bob.connections()] == [None, None], "he has heard them, and had no cause to ask"
    for here, there in ends:
        here.send(b"still here")
        assert there.receive(10) == b"still here"
    assert [c["connection"] for n in askers for c in n.connections()] == [c["connection"] for c in before]


def test_e4_idle_connections_close_and_open_again_on_demand(lab):
    idle = 2
    alice, bob = lab.pair("--idle-timeout", str(idle))
    events = subscribed(alice)
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        first = events.event("connection.connected")["connection"]
        # One with a channel is not idle, however quiet.
        quiet = Deadline(2 * idle)
        until(quiet.passed, 3 * idle, "longer than the idle time")
        assert round_trip(channel, b"in use") == b"in use"
        with Late() as late:
            channel.finish()
            assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
            channel.close()
            began = time.monotonic()
            closed = events.event("connection.closed", 20 * SCALE, connection=first)
            assert closed["reason"] == "idle"
            assert idle * 0.7 - late.seconds <= time.monotonic() - began <= idle + 3 * SCALE + late.seconds
        until(lambda: not bob.connections(alice), 10, "closed there, too")
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"
        assert events.event("connection.connected")["connection"] != first
