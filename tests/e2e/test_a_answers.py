# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS A9: answers to a request of ours, of those who were not asked, and one that comes again."""
import pytest
from attempts import told
from harness import SCALE, until
from hostile import HELLO, Hostile, device_of
from traffic import subscribed

# Beyond those of the labs' nodes.
ASKED, FORGER = 20, 21


@pytest.fixture
def peers(lab):
    """Alice, and two peers that she allows."""
    alice = lab.node("alice").start()
    out = []
    for number in (ASKED, FORGER):
        alice.api.call("trust.allow", id=device_of(lab, number))
        out.append(Hostile.good(lab, number).knows(alice))
    return alice, *out


def received(node):
    return node.status()["metrics"]["dht_requests_received"]


def test_a9_another_device_answers_with_the_id_that_was_asked(lab, peers, tmp_path):
    alice, asked, forger = peers
    device = device_of(lab, ASKED)
    text = tmp_path / "ice"
    text.write_text("ufrag\n0123456789012345678901\n1 1 TCP 2130706431 10.77.0.1 9 typ host tcptype active\n")
    events = subscribed(alice)
    asked.say("watch").expect("watching")
    alice.api.send("channel.open", peer=device, uri="x", timeout=30 * SCALE)
    number = asked.expect("asked")
    before = received(alice)
    forger.say("forge", number, text).expect("put")
    until(lambda: received(alice) > before, 30 * SCALE, "the answer came")
    assert not told(events, "connection.progress", state="checking")
    # That of who was asked is still awaited, and taken.
    asked.say("answer").expect("answering")
    assert asked.expect("request") == number
    asked.expect("path")
    assert told(events, "connection.progress", state="checking", peer=device)
    assert len(told(events, "connection.connecting")) == 1 and not told(events, "connection.failed")


def test_a9_an_answer_that_was_taken_comes_again(lab, peers):
    alice, asked, _ = peers
    device = device_of(lab, ASKED)
    events = subscribed(alice)
    asked.say("answer").expect("answering")
    alice.api.send("channel.open", peer=device, uri="x", timeout=30 * SCALE)
    asked.expect("path")
    for stage in ("in TLS", "connected"):
        before = received(alice)
        asked.say("again").expect("put")
        until(lambda before=before: received(alice) > before, 30 * SCALE, f"it came again, {stage}")
        if stage == "in TLS":
            asked.say("tls").expect("up")
            asked.plain(HELLO)
            events.event("connection.connected", peer=device)
    asked.answers()
    assert len(told(events, "connection.connecting")) == len(told(events, "connection.progress", state="checking")) == 1
    assert not told(events, "connection.failed") and not told(events, "connection.closed")
