# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS A11, A12: attempts whose ICE finds no path, and daemons that are stopped in the middle of one."""
import time

import pytest
from api_client import reason_of
from attempts import failed_once
from harness import SCALE, Late, until
from hostile import Hostile, device_of
from traffic import Echo, round_trip, subscribed

# Beyond those of the labs' nodes.
HOSTILE = 20
# More than ICE gets for one attempt (5 s, daemon), so that an attempt ends by itself, and an open by its own time.
OPEN_SECONDS = 8


@pytest.mark.parametrize("how", ["reset", "blackhole"])
def test_a11_all_candidates_unreachable(netns, lab, how):
    alice, bob = lab.pair()
    heard, there = subscribed(alice), subscribed(bob)
    with Echo(bob), Late() as late:
        alice.api.sync()
        fds = alice.fds(), bob.fds()
        bob.cut(how)  # TCP only: the DHT goes on
        begun = time.monotonic()
        opening = alice.api.send("channel.open", peer=bob.device, uri="echo", timeout=OPEN_SECONDS)
        # Both know each other's candidates.
        for events, peer in ((heard, bob), (there, alice)):
            events.event("connection.progress", OPEN_SECONDS, state="checking", peer=peer.device)
        for events, peer in ((heard, bob), (there, alice)):
            assert events.event("connection.failed", 20 * SCALE, peer=peer.device)["reason"] == "ice-failed"
        assert reason_of(alice.api.reply, opening) in ("ice-failed", "timed-out")
        # The daemon counts whole milliseconds, from the begin of its turn.
        assert OPEN_SECONDS - 0.1 <= time.monotonic() - begun < OPEN_SECONDS + 3 * SCALE + late.seconds
        assert alice.status()["counts"]["pending_opens"] == 0
        until(lambda: not alice.connections() and not bob.connections(), 30 * SCALE, "no attempt is left")
        until(lambda: alice.fds() <= fds[0] and bob.fds() <= fds[1], 30 * SCALE, "nothing of the attempts is left")
        bob.mend()
        assert round_trip(alice.api.open(bob.device, "echo"), b"x") == b"x"


def stop_amidst(node, client, requests=()):
    """SIGTERM: the daemon ends by itself, and each of its opens with it, once."""
    node.process.popen.terminate()
    assert set(failed_once(client, requests)) <= {"shutting-down"}
    assert node.process.wait(60 * SCALE) == 0
    node.check_log()


def failures(client):
    """Of the attempts of a daemon that has ended."""
    return [event["reason"] for event in client.taken("event", type="connection.failed")]


def opens(client, device):
    return [client.send("channel.open", peer=device, uri=f"x{n}") for n in range(20)]


def test_a12_stopped_while_the_answer_is_awaited(lab):
    alice, bob = lab.pair(trust=False)  # his refusal is silence
    events = subscribed(alice)
    requests = opens(alice.api, bob.device)
    events.event("connection.progress", state="offered")
    stop_amidst(alice, alice.api, requests)
    events.wait_gone(20)
    assert failures(events) == ["cancelled"]  # who waited for it got its error first


@pytest.mark.parametrize("stopped", ["caller", "callee"])
def test_a12_stopped_while_ice_runs(netns, lab, stopped):
    alice, bob = lab.pair()
    bob.cut("blackhole")
    heard, there = subscribed(alice), subscribed(bob)
    client = alice.api
    requests = opens(client, bob.device)
    heard.event("connection.progress", state="checking", peer=bob.device)
    there.event("connection.progress", state="checking", peer=alice.device)
    if stopped == "callee":
        stop_amidst(bob, there)
        assert failures(there) == ["shutting-down"]
    stop_amidst(alice, client, requests)
    heard.wait_gone(20)
    assert failures(heard) == ["cancelled"]


def test_a12_stopped_while_the_peer_is_silent_in_tls(lab):
    alice = lab.node("alice").start()
    hostile = Hostile.good(lab, HOSTILE)
    device = device_of(lab, HOSTILE)
    alice.api.call("trust.allow", id=device)
    events, client = subscribed(alice), alice.api
    hostile.knows(alice).say("answer").expect("answering")
    requests = opens(client, device)
    hostile.expect("path")
    events.event("connection.progress", state="handshaking", peer=device)
    stop_amidst(alice, client, requests)
    hostile.end()
