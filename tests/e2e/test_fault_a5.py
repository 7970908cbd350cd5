# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault A5: a peer that we know gets through while strangers flood the key of our requests."""
import os
import stat
import time

from api_client import reason_of
from harness import FULL, SCALE, Late, kept_waiting, sized, until
from test_load import strangers
from traffic import Echo, round_trip

STRANGERS = 12  # OpenDHT takes 200 requests a second of an address
PAIRS = "pairs"


def meet(one, other):
    """They have a connection, and have it no more. How long it took, without what the machine was late."""
    with Late() as late:
        began = time.monotonic()
        channel = one.api.open(other.device, "echo", timeout=20 * SCALE)
        took = time.monotonic() - began - late.seconds
    assert round_trip(channel, b"here") == b"here"
    channel.close()
    one.api.call("connection.close", peer=other.device)
    until(lambda: not one.connections() and not other.connections(), 20 * SCALE, "no connection")
    return took


def heard(node):
    metrics = node.status()["metrics"]
    return sum(metrics[f"dht_requests_{what}"] for what in ("received", "ignored", "dropped"))


class Flood:
    """Junk at the key of a node's requests, so many a second, while the block lasts."""

    def __init__(self, lab, node, rate):
        self.node, self.rate = node, rate
        self.junk = strangers(lab, node, STRANGERS, STRANGERS)

    def __enter__(self):
        self.waited = self._waited()
        self.began, self.before = time.monotonic(), heard(self.node)
        self.junk.say("junk", self.rate, self.rate * 300)
        until(lambda: heard(self.node) > self.before + self.rate, 20 * SCALE, "it comes")
        return self

    def __exit__(self, kind, *_):
        seconds, waited = time.monotonic() - self.began, self._waited() - self.waited
        came = (heard(self.node) - self.before) / seconds
        self.junk.end()
        # A busy machine sends and takes fewer, and fewer are too many for it.
        assert kind or came > self.rate * 0.6 or waited > seconds * 0.2, f"{came:.0f} a second came"

    def _waited(self):
        return sum(kept_waiting(pid, threads=True) for pid in (self.node.process.pid, self.junk.popen.pid))


def flooded(lab):
    """Alice, whom strangers flood, and Bob. In a full run her key is as long as the daemon makes it."""
    alice = lab.node("alice", identity_number="none" if FULL else None).start()
    bob = lab.node("bob").start()
    alice.allow(bob)
    bob.allow(alice)
    return alice, bob


def test_fault_a5_a_known_peer_gets_through(lab):
    """With a fresh connection each time, and also when she is the one that calls."""
    rate, opens = sized((100, 2), (1_000, 6), (1_000, 20))
    alice, bob = flooded(lab)
    with Echo(alice), Echo(bob):
        meet(bob, alice)
        with Flood(lab, alice, rate):
            calls = [meet(bob, alice) for _ in range(opens)]
            called = [meet(alice, bob) for _ in range(opens // 2)]
    print(f"beside {rate} junk values a second: {len(calls)} opens of a known peer took {sorted(calls)[len(calls) // 2]:.2f} s (median), "
          f"{max(calls):.2f} s at most; {len(called)} opens by the flooded one {max(called):.2f} s at most")
    assert max(calls + called) < 3 * SCALE


def test_fault_a5_over_a_restart_and_without_the_secret(lab):
    """It is kept on disk, for its owner alone. Where one side has lost it, the public keys do, a second later."""
    alice, bob = flooded(lab)
    with Echo(alice):
        meet(bob, alice)
    for node in (alice, bob):
        until((node.state / PAIRS).exists, 20 * SCALE, "it is written")
        assert stat.S_IMODE(os.stat(node.state / PAIRS).st_mode) == 0o600
        assert bytes.fromhex((bob if node is alice else alice).device) in (node.state / PAIRS).read_bytes()
    for lost in (None, alice, bob, "damaged"):
        for node in (alice, bob):
            node.stop()
        if lost == "damaged":
            (alice.state / PAIRS).write_bytes((alice.state / PAIRS).read_bytes()[:-1])
        elif lost:
            (lost.state / PAIRS).unlink()
        for node in (alice, bob):
            node.start()
        with Echo(alice):
            meet(bob, alice)


def test_fault_a5_forgotten_with_trust(lab):
    """Who is banned or no longer allowed has no key of its own: not now, and not after a restart."""
    alice, bob = flooded(lab)
    pairs = alice.state / PAIRS
    there = bytes.fromhex(bob.device)
    for how in ("trust.ban", "trust.unset"):
        with Echo(alice):
            meet(bob, alice)
            until(lambda: pairs.exists() and there in pairs.read_bytes(), 20 * SCALE, "kept")
            alice.api.call(how, id=bob.device)
            until(lambda: there not in pairs.read_bytes(), 20 * SCALE, "forgotten")
            assert reason_of(bob.api.open, alice.device, "echo", timeout=4 * SCALE) == "no-answer-or-refused"
        alice.allow(bob)
