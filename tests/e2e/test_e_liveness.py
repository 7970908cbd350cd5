# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS E: liveness."""
import time

from harness import FULL, SCALE, Deadline, until
from traffic import Echo, Sender, round_trip

# proto/limits.h, kProbeTime.
PROBE_SECONDS = 5


def joined(alice, bob, uri):
    """A channel, both ends."""
    bob.api.call("listen.add", uri=uri, strict_end=True)
    here = alice.api.open(bob.device, uri)
    return here, bob.api.incoming(uri=uri)


def subscribed(node):
    client = node.client("events")
    client.call("events.subscribe")
    return client


def test_e1_silent_peer_is_dead_within_twice_the_interval(lab):
    keepalive = 2
    alice, bob = lab.pair("--keepalive", str(keepalive))
    here, _ = joined(alice, bob, "e1")
    events = subscribed(alice)
    bob.freeze()
    frozen = time.monotonic()
    end = here.end(30)
    # Its last byte may have come a moment before; a loop turn, and this process, take theirs.
    assert time.monotonic() - frozen <= 2 * keepalive + 0.5 * SCALE
    assert end["reason"] == "connection-lost"
    assert events.event("connection.closed", peer=bob.device)["reason"] == "connection-lost"
    assert alice.status()["metrics"]["connections_timed_out"] == 1
    bob.thaw()
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"thawed") == b"thawed"


def test_e1_keepalive_holds_an_idle_connection(lab):
    alice, bob = lab.pair("--keepalive", "1")
    here, there = joined(alice, bob, "e1 idle")
    connection = alice.connections(bob)[0]["connection"]

    def probed(node, peer):
        return (node.connections(peer)[0].get("rtt_ms") or 0) > 0

    # Each side asks, and is answered; over a few intervals nothing ends.
    until(lambda: probed(alice, bob) or probed(bob, alice), 20 * SCALE, "a keepalive was answered")
    before = alice.connections(bob)[0]["bytes_in"]
    until(lambda: alice.connections(bob)[0]["bytes_in"] > before + 60, 20 * SCALE, "more of them")
    here.send(b"still here")
    assert there.receive(10) == b"still here"
    assert [c["connection"] for c in alice.connections(bob)] == [connection]


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
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"moved") == b"moved"
        second = [c for c in alice.connections(bob) if c["connection"] != first["connection"]]
        assert [c["local_address"].split(":")[0] for c in second] == [alice.address]
        # The old one was probed at once, by both: by bob because alice called anew.
        assert here.end(30)["reason"] == "connection-lost"
        assert there.end(30)["reason"] == "connection-lost"
    assert time.monotonic() - moved < PROBE_SECONDS * 4 * SCALE, "not by keepalive"
    for client, handle in ((events, first["connection"]), (of_bob, None)):
        closed = client.event("connection.closed", 20)
        assert closed["reason"] == "connection-lost" and handle in (None, closed["connection"])


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
        channel.finish()
        assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
        channel.close()
        began = time.monotonic()
        closed = events.event("connection.closed", 20 * SCALE, connection=first)
        assert closed["reason"] == "idle"
        assert idle * 0.7 <= time.monotonic() - began <= idle + 3 * SCALE
        until(lambda: not bob.connections(alice), 10, "closed there, too")
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"
        assert events.event("connection.connected")["connection"] != first


def test_e5_suspend_and_resume(lab):
    """Suspended while the network goes: what is dead is noticed soon after, not by the next keepalive."""
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e5")
    sender = Sender(there, None)
    sender.start()
    assert len(here.receive(1 << 20)) == 1 << 20
    alice.freeze()
    asleep = Deadline(60 if FULL else 4)
    until(asleep.passed, 90, "asleep")
    bob.kill()
    if lab.mode == "netns":
        bob.cut()  # not even its kernel answers any more
    alice.thaw()
    woke = time.monotonic()
    here.close()
    assert here.end(4 * PROBE_SECONDS * SCALE)["reason"] in ("connection-lost", "cancelled")
    until(lambda: not alice.connections(bob), 4 * PROBE_SECONDS * SCALE, "the dead connection was noticed")
    assert time.monotonic() - woke < 3 * PROBE_SECONDS * SCALE
    sender.join(20)
    if lab.mode == "netns":
        bob.mend()
    bob.start()
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"awake") == b"awake"


def test_e5_a_short_sleep_breaks_nothing(lab):
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "e5 short")
    for sleeper in (alice, bob):
        sleeper.freeze()
        asleep = Deadline(4)
        until(asleep.passed, 6, "asleep")
        sleeper.thaw()
        until(lambda: "stood still" in sleeper.process.log(), 10 * SCALE, "it has noticed")
    here.send(b"slept well")
    assert there.receive(10) == b"slept well"
    assert len(alice.connections(bob)) == 1
