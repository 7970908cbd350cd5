# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that are silent, or slow, while a connection is set up."""
import time

from harness import SCALE, Deadline, until
from hostile import HOSTILE, Hostile, device_of, numbers, subscribed
from traffic import Echo, round_trip


def test_silent_and_slow_at_each_stage_of_set_up(nodes, shared_lab, tmp_path):
    """Four peers at once, each stuck at another stage: all attempts end in the stated time, all is given back."""
    alice, bob = nodes
    events = subscribed(alice)
    fds = alice.fds()
    stuck = {}
    for index, stage in enumerate(("no ICE", "no TLS", "a byte a second", "no hello")):
        number = HOSTILE + 2 + index
        hostile = Hostile.good(shared_lab, number)
        device = device_of(shared_lab, number)
        alice.api.call("trust.allow", id=device)
        stuck[stage] = hostile.knows(alice), device
    text = tmp_path / "ice"
    text.write_text("ufrag\n0123456789012345678901\n1 1 TCP 2130706431 10.77.0.1 9 typ host tcptype active\n")
    began = time.monotonic()
    stuck["no ICE"][0].say("claim", next(numbers), text).expect("put")
    for stage in ("no TLS", "a byte a second", "no hello"):
        stuck[stage][0].say("call", next(numbers)).expect("path")
    stuck["no hello"][0].say("tls").expect("up")
    with Echo(alice):
        channel = bob.api.open(alice.device, "echo")
        left = {device: stage for stage, (_, device) in stuck.items()}
        drip = Deadline(1)
        while left:
            assert time.monotonic() - began < 60 * SCALE, left
            assert round_trip(channel, b"not held up") == b"not held up"
            if drip.passed():
                drip = Deadline(1)
                stuck["a byte a second"][0].say("raw", "16")
            if found := events.find("event", type="connection.failed"):
                assert found[0]["reason"] in ("timed-out", "ice-failed", "connection-lost", "no-answer-or-refused",
                                              "protocol-error"), found
                left.pop(found[0]["peer"], None)
            events.pump(0.2)
        channel.close()
    for hostile, _ in stuck.values():
        hostile.end()
    until(lambda: alice.fds() <= fds + 2, 20 * SCALE, "no fd is left over")
