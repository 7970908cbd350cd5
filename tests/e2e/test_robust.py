# SPDX-License-Identifier: GPL-3.0-or-later
"""What suites seldom have: clients that die by the hundred, clocks that jump, a bootstrap that goes."""
import contextlib
import json
import os
import socket
import struct
import time

import pytest
from api_client import ApiError, reason_of
from harness import BUILD, SANITIZER, SCALE, sized, until
from traffic import Echo, round_trip

CLOCK_SHIFT = os.environ.get("CONND_CLOCK_SHIFT") or str(BUILD / "tests/peer/libclock_shift.so")
DAY = 86_400


def kernel_version():
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


# ---- clients ----


def line(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def test_clients_that_open_and_die(pair):
    """A thousand, in waves: each asks for a channel (or listens, or asks for events) and is gone, at another moment each."""
    alice, bob = pair
    with Echo(bob):
        alice.api.open(bob.device, "echo").close()
        until(lambda: not alice.status()["counts"]["channels"], 20 * SCALE, "nothing is open")
        fds, rss = [node.fds() for node in pair], [node.rss() for node in pair]
        total, wave = sized((100, 50), (400, 200), (1_000, 200))
        for start in range(0, total, wave):
            living = []
            for number in range(start, start + wave):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                client.connect(alice.socket_path)
                client.sendall(line(1, "channel.open", peer=bob.device, uri=f"echo {number}"))
                if number % 3 == 1:
                    client.sendall(line(2, "listen.add", uri=f"dying {number}"))
                if number % 3 == 2:
                    client.sendall(line(2, "events.subscribe") + b'{"half a li')
                living.append(client)
            for number, client in enumerate(living):
                if number % 4 == 0:
                    client.recv(1)  # the answer is on its way, with its fd; plain recv drops that
                client.close()
            until(lambda: alice.status()["counts"]["clients"] <= 2, 30 * SCALE, "their ends are noticed")
        counts = {}

        def quiet():
            counts.update(alice.status()["counts"])
            return not counts["channels"] and not counts["pending_opens"] and not counts["listeners"]

        until(quiet, 60 * SCALE, f"nothing of theirs is left: {counts}")
        until(lambda: not [c for c in bob.api.call("channel.list")["channels"]], 60 * SCALE, "nor at the peer")
        for node, before in zip(pair, fds, strict=True):
            until(lambda: node.fds() <= before + 2, 20 * SCALE, f"{node.name} has {node.fds()} fds, not {before}")

        def growth():
            return [node.rss() - before for node, before in zip(pair, rss, strict=True)]

        until(lambda: SANITIZER or max(growth()) < 16 << 20, 20, "what is free is given back")
        print(f"{total} clients; memory grew by {[g >> 10 for g in growth()]} KiB")
        assert round_trip(alice.api.open(bob.device, "echo"), b"lives") == b"lives"


def lingering_socket():
    """A TCP socket with data that its other end does not read: whoever closes it last waits for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 65_536)
    return ours, theirs


@pytest.mark.parametrize("over", ["control socket", "channel"])
def test_a_passed_socket_that_lingers_holds_up_nobody(pair, over):
    """The daemon would be its last owner, and wait on its loop as it drops it."""
    alice, bob = pair
    with Echo(bob), alice.client() as client:
        channel = client.open(bob.device, "echo")
        carrier = client.sock if over == "control socket" else channel.sock
        passed, unread = lingering_socket()
        with unread:
            alice.freeze()  # so that it drops the socket after us
            try:
                socket.send_fds(carrier, [b"\n"], [passed.fileno()])
                refused = False
            except PermissionError:
                refused = True
                passed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))  # ours alone: no wait here
            finally:
                passed.close()
                alice.thaw()
            if not refused and kernel_version() < (6, 16):
                pytest.skip("before Linux 6.16 nobody can refuse passed descriptors")
            began = time.monotonic()
            assert alice.api.call("hello", client="another")["api"] == 1
            assert time.monotonic() - began < 30 * SCALE, "half of what the socket lingers"
        assert round_trip(channel, b"lives") == b"lives"
        channel.close()


def test_b3_declines_leave_nothing(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="no", mode="ask")
    with Echo(bob):
        warm = alice.api.open(bob.device, "echo")
        fds = [node.fds() for node in pair]
        for _ in range(30):
            request = alice.api.send("channel.open", peer=bob.device, uri="no")
            bob.api.call("channel.decline", request=bob.api.wait("channel.request")[0]["request"])
            assert reason_of(alice.api.reply, request) == "declined"
            assert reason_of(alice.api.open, bob.device, "nobody listens") == "no-listener"
        until(lambda: all(node.fds() <= n for node, n in zip(pair, fds, strict=True)), 10 * SCALE, f"as many fds as before: {fds}")
        warm.close()


# ---- clocks ----


class Clock:
    """The calendar of one daemon."""

    def __init__(self, node):
        self.path = node.directory / "clock"
        self.path.write_bytes(struct.pack("q", 0))
        node.preload = {"LD_PRELOAD": CLOCK_SHIFT, "CLOCK_SHIFT": str(self.path)}

    def shift(self, seconds):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("q", seconds))


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
@pytest.mark.parametrize("days", [1, -1])
def test_clock_jumps_by_a_day(lab, days):
    alice, bob = lab.node("alice"), lab.node("bob")
    clock = Clock(alice)
    for node in (alice, bob):
        node.start()
    alice.allow(bob)
    bob.allow(alice)
    with Echo(bob), Echo(alice):
        channel = alice.api.open(bob.device, "echo")
        events = alice.client("events")
        events.call("events.subscribe")
        before = alice.status()["uptime_s"]
        clock.shift(days * DAY)
        # It did jump: the next event is dated so.
        alice.api.call("trust.ban", id="ab" * 32)
        dated = events.event("trust.changed")["time"]
        assert abs(dated - time.time() - days * DAY) < 60
        assert round_trip(channel, b"goes on") == b"goes on"
        assert alice.status()["uptime_s"] - before < 60, "what counts seconds does not count days"
        # An open times out when it should, not at once, not never.
        bob.api.call("listen.add", uri="slow", mode="ask")
        assert reason_of(alice.api.open, bob.device, "slow", timeout=1) == "timed-out"
        # A fresh connection, both ways: DHT, certificates' dates, requests.
        alice.api.call("connection.close", peer=bob.device)
        assert round_trip(alice.api.open(bob.device, "echo"), b"anew") == b"anew"
        alice.api.call("connection.close", peer=bob.device)
        until(lambda: not bob.connections(alice), 10 * SCALE, "closed")
        assert round_trip(bob.api.open(alice.device, "echo"), b"from there") == b"from there"


# ---- the DHT ----


def test_dht_bootstrap_dies_and_comes_back(lab):
    alice, bob = lab.pair()
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        lab.stop_dht()
        assert round_trip(channel, b"no DHT needed") == b"no DHT needed"
        assert round_trip(alice.api.open(bob.device, "echo more"), b"nor for more") == b"nor for more"
        carol = lab.node("carol").start(ready=False)  # knows nobody else
        until(lambda: carol.status()["state"] == "ready", 20 * SCALE, "it has its identity")
        carol.api.call("trust.allow", id=alice.device)
        assert carol.status()["dht"]["state"] != "connected"
        assert reason_of(carol.api.open, bob.device, "echo", timeout=3) == "no-network"

        def all_are(state, nodes):
            return all(node.status()["dht"]["state"] == state for node in nodes)

        # Nodes that do not answer are not given up at once: who knew some is connected to them for a while.
        assert all_are("connected", (alice, bob))
        lab.start_dht()
        carol.wait_ready(90 * SCALE)
        until(lambda: all_are("connected", (alice, bob, carol)), 90 * SCALE, "they are connected again")
        bob.allow(carol)

        def found():
            try:
                return carol.api.open(bob.device, "echo", timeout=30)
            except ApiError as error:  # the others have not put their certificates there again yet
                assert error.reason in ("no-network", "not-found", "no-answer-or-refused") and error.data["retryable"], error
                return None

        assert round_trip(until(found, 180 * SCALE, "they are found again"), b"found") == b"found"
        assert round_trip(channel, b"still") == b"still"
