# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that are silent, or slow, while a connection is set up: with those that call, and those that were dialled."""
import time
from dataclasses import dataclass

import pytest
from api_client import ApiError
from harness import SCALE, Deadline, until
from hostile import HELLO, HOSTILE, NO_PATH, Hostile, device_of, dial, numbers
from traffic import Echo, round_trip, subscribed

# What the stages may take, in seconds (proto/connect.h, ConnectTimes), and how late a loaded machine may be.
CHECK, HANDSHAKE = 5, 10
LATE = 5 * SCALE
# An open that gives up before the handshake does.
IMPATIENT = 8
# How TLS begins: a record of 16 KiB, in it a ServerHello or ClientHello as long as that. Not a byte of it is wrong.
SERVER_HELLO = bytes.fromhex("16 0303 4000 02 003ffc 0303") + bytes(32)
CLIENT_HELLO = bytes.fromhex("16 0303 4000 01 003ffc 0303") + bytes(32)


@dataclass(frozen=True)
class Stage:
    """Where a peer gets stuck."""

    dialled: bool = False  # else it calls
    path: bool = True  # it goes on after its request
    tls: bool = False  # and as far as through TLS
    verb: str = ""  # what it drips then: `raw` below TLS, `plain` inside
    drip: bytes = b""

    @property
    def outcome(self):
        """The reason, the state that it is stuck in, and the time that this may take."""
        return ("timed-out", "handshaking", HANDSHAKE) if self.path else ("ice-failed", "checking", CHECK)


# Those that drip come last: their time is to begin when the dripping does.
STAGES = {
    "no ICE": Stage(path=False),
    "no TLS": Stage(),
    "no hello": Stage(tls=True),
    "dialled, no TLS": Stage(dialled=True),
    "dialled, no hello": Stage(dialled=True, tls=True),
    "TLS byte by byte": Stage(verb="raw", drip=SERVER_HELLO),
    "hello byte by byte": Stage(tls=True, verb="plain", drip=HELLO),
    "dialled, TLS byte by byte": Stage(dialled=True, verb="raw", drip=CLIENT_HELLO),
    "dialled, hello byte by byte": Stage(dialled=True, tls=True, verb="plain", drip=HELLO),
}


class Stuck:
    """One such peer."""

    def __init__(self, lab, alice, number, stage):
        self.alice, self.stage = alice, stage
        self.hostile = Hostile.good(lab, number).knows(alice)
        self.device = device_of(lab, number)
        self.dripped = 0
        self.opens = []
        alice.api.call("trust.allow", id=self.device)

    def begin(self, text):
        if not self.stage.path:
            self.hostile.say("claim", next(numbers), text).expect("put")
        elif self.stage.dialled:
            self.hostile.say("answer").expect("answering")
            self.opens = [Open(self.alice, self.device, IMPATIENT, True), Open(self.alice, self.device, 60 * SCALE, False)]
        else:
            self.hostile.say("call", next(numbers))

    def get_stuck(self):
        if self.stage.path:
            self.hostile.expect("path")
        if self.stage.tls:
            self.hostile.say("tls").expect("up")

    def drop(self):
        """The next byte."""
        if self.stage.verb:
            self.hostile.say(self.stage.verb, self.stage.drip[self.dripped : self.dripped + 1].hex())
            self.dripped += 1
            assert self.dripped < len(self.stage.drip), "all was said, and it was not thrown out"


class Open:
    """An open of the daemon under attack; on a control connection of its own, so that the time of its answer is told."""

    def __init__(self, alice, device, timeout, first):
        self.client = alice.client("open")
        if first:
            self.request = dial(self.client, subscribed(alice), device, timeout)
        else:
            self.request = self.client.send("channel.open", peer=device, uri="x", timeout=timeout)
        self.began = time.monotonic()
        self.failed, self.took = None, None

    def look(self):
        self.client.pump(0)
        if self.failed is None and self.client.replies.get(self.request):
            with pytest.raises(ApiError) as failed:
                self.client.reply(self.request)
            self.failed, self.took = failed.value.reason, time.monotonic() - self.began

    def cancel(self):
        assert self.failed is None
        self.client.call("channel.cancel", id=self.request)
        self.look()
        assert self.failed == "cancelled"


class Watch:
    """How long each attempt stood in each state, by the daemon's own clock."""

    def __init__(self, alice):
        self.events = subscribed(alice)
        self.reached = {}
        self.failed = {}

    def read(self, timeout):
        self.events.pump(timeout)
        for event in self.events.taken("event", type="connection.progress"):
            self.reached[event["connection"], event["state"]] = event["after_ms"]
        for event in self.events.taken("event", type="connection.failed"):
            assert event["connection"] not in self.failed, "reported twice"
            self.failed[event["connection"]] = event

    def first_failure(self, device):
        found = [event for event in self.failed.values() if event["peer"] == device]
        return next((event for event in found if event["reason"] != "not-found"), None)  # see dial()

    def check(self, failed, stage, name):
        reason, state, seconds = stage.outcome
        assert failed["reason"] == reason and failed["direction"] == ("outgoing" if stage.dialled else "incoming"), (name, failed)
        number = failed["connection"]
        stood = (self.reached[number, "failed"] - self.reached[number, state]) / 1000
        print(f"{name}: {reason} after {stood:.1f} s of {state}")
        assert stood < seconds + LATE, (name, stood)
        # The deadline ended it, not something that the peer said. ICE may know earlier that all its pairs have failed.
        assert not stage.path or stood > seconds - 0.1, (name, stood)


def test_silent_and_slow_at_each_stage_of_set_up(nodes, shared_lab, tmp_path):
    """Peers each stuck at another stage, at once: each attempt ends by its stage's deadline, and all is given back."""
    alice, bob = nodes
    text = tmp_path / "ice"
    text.write_text(NO_PATH)
    with Echo(alice):
        channel = bob.api.open(alice.device, "echo")
        fds = alice.fds()
        stuck = {name: Stuck(shared_lab, alice, HOSTILE + 2 + index, stage) for index, (name, stage) in enumerate(STAGES.items())}
        watch = Watch(alice)
        # One after the other: requests are many datagrams each, and come once.
        for one in stuck.values():
            one.begin(text)
            one.get_stuck()
        left, drip, limit = dict(stuck), Deadline(0), Deadline(60 * SCALE)
        while left:
            assert not limit.passed(), left
            assert round_trip(channel, b"not held up") == b"not held up"
            watch.read(0.1)
            for name, one in list(left.items()):
                for opening in one.opens:
                    opening.look()
                if failed := watch.first_failure(one.device):
                    watch.check(failed, one.stage, name)
                    del left[name]
                elif drip.passed():
                    one.drop()
            if drip.passed():
                drip = Deadline(1)
        for one in stuck.values():
            if one.opens:
                impatient, patient = one.opens
                assert impatient.failed == "timed-out" and IMPATIENT - 1 < impatient.took < IMPATIENT + LATE
                patient.cancel()  # it was about to be dialled for again
            if one.stage.path:
                assert "closed" in one.hostile.expect("down")
            one.hostile.end()
        alice.close_clients()
        until(lambda: alice.fds() <= fds, 20 * SCALE, "no fd is left over")
        assert not alice.connections() or {c["peer"] for c in alice.connections()} == {bob.device}
        channel.close()
