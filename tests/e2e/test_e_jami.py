# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS E: liveness in Jami's dialect, with a peer whose every message the test writes."""
import pathlib
import threading
import time

import pytest
from harness import SCALE, Deadline, Late, inside, run, until
from hostile import Hostile, jami, pack
from traffic import Echo

# PROTOCOL.md 17.
PROTOCOL = 65535
BEACON, BEACON_ANSWER = pack({"p": True}), pack({"p": False})
REQUEST, ACCEPT = 0, 1
KEEPALIVE = 1


@pytest.fixture
def alice(lab):
    return lab.node("alice", "--keepalive", str(KEEPALIVE)).start()


def opened(alice, peer, uri):
    """Alice's first channel to the peer, which accepts it."""
    request = alice.api.send("channel.open", peer=peer.device, uri=uri, strict_end=True)
    peer.expect_plain(pack([uri, 1, REQUEST]))
    peer.plain(jami(0, pack([uri, 1, ACCEPT])))
    return alice.api.opened(request)


def test_e2_an_old_version_that_answers_no_beacons_is_not_killed(lab, alice):
    """It says no version, or 0: over several times the interval there is no beacon, and no end."""
    events = alice.client("events")
    events.call("events.subscribe")
    peers = [Hostile.of_jami(lab, alice, number) for number in (20, 21)]
    for _ in peers:
        events.event("connection.connected")
    peers[1].plain(jami(PROTOCOL, pack({"v": 0})))
    with Echo(alice):
        for peer in peers:
            peer.jami_open("echo", 7)
        before = alice.connections()
        # Doubt is no reason either: after a sleep those who answer are asked.
        alice.freeze()
        asleep = Deadline(4)
        until(asleep.passed, 6, "longer than twice the interval, and than what counts as asleep")
        alice.thaw()
        until(lambda: "stood still" in alice.process.log(), 10 * SCALE, "it has noticed")
        quiet = Deadline(2 * KEEPALIVE + 0.2)
        until(quiet.passed, 2 * quiet.left(), "longer than twice the interval")
        for peer in peers:
            got = peer.plain(jami(7, b"still here")).expect_plain(jami(7, b"still here"))
            assert BEACON not in got, got
        events.sync()
        assert not events.taken("event", type="connection.closed")
        assert [c["connection"] for c in alice.connections()] == [c["connection"] for c in before]


def test_e1_beacons_of_jamis_dialect(lab, alice):
    """They are answered; they are sent to who has said that it answers; unanswered they mean death in the stated time."""
    peer = Hostile.of_jami(lab, alice, 20)
    events = alice.client("events")
    events.call("events.subscribe")
    here = opened(alice, peer, "sip")
    assert here.half_close is False

    got = peer.plain(jami(PROTOCOL, BEACON)).expect_plain(jami(PROTOCOL, BEACON_ANSWER))
    assert BEACON not in got
    peer.plain(jami(PROTOCOL, pack({"v": 1})))
    for _ in range(2):
        peer.expect_plain(jami(PROTOCOL, BEACON))
        assert [c["state"] for c in alice.connections()] == ["connected"]
        peer.plain(jami(PROTOCOL, BEACON_ANSWER))
    with Late() as late:
        silent = time.monotonic()
        until(lambda: alice.connections()[0].get("rtt_ms") is not None, 10 * SCALE, "an answer was measured")
        peer.expect_plain(jami(PROTOCOL, BEACON))
        assert here.end(20 * SCALE)["reason"] == "connection-lost"
        # A loop turn, and this process, take theirs.
        assert KEEPALIVE - 0.1 <= time.monotonic() - silent <= 2 * KEEPALIVE + 0.5 * SCALE + late.seconds
    assert events.event("connection.closed", peer=peer.device)["reason"] == "connection-lost"
    peer.expect("down")


def test_e1_an_upload_over_a_slow_link_outlives_its_beacons(netns, lab, alice):
    """They wait behind what the kernel holds: who receives that is not dead; who is cut off is, in the stated time."""
    peer = Hostile.of_jami(lab, alice, 20)
    events = alice.client("events")
    events.call("events.subscribe")
    peer.plain(jami(PROTOCOL, pack({"v": 1})))
    upload = opened(alice, peer, "upload")
    (before,) = alice.connections()
    if not alice.slow(kbit=2_000):
        pytest.skip("this kernel has no token bucket (sch_tbf)")

    upload.sock.settimeout(40 * SCALE)
    data = bytes(1_500_000) + b"the end." * 4  # a message may end within one of them
    app = threading.Thread(target=upload.send, args=(data,))
    app.start()
    began = time.monotonic()
    came = peer.expect_plain(b"the end.", 60 * SCALE)
    app.join()
    assert time.monotonic() - began > 3 * KEEPALIVE and BEACON in came
    peer.plain(jami(PROTOCOL, BEACON_ANSWER))
    until(lambda: alice.connections()[0].get("rtt_ms") is not None, 10 * SCALE, "the answer came")
    events.sync()
    assert not events.taken("event", type="connection.closed")
    assert [c["connection"] for c in alice.connections()] == [before["connection"]]

    upload.send(bytes(500_000))
    with Late() as late:
        alice.cut()
        cut = time.monotonic()
        assert upload.end(20 * SCALE)["reason"] == "connection-lost"
        assert time.monotonic() - cut <= 2 * KEEPALIVE + 0.5 * SCALE + late.seconds


def test_e1_an_old_version_is_known_by_its_kernel(netns, lab, alice):
    """It answers no beacons, and nothing is sent to it: when it is cut off, its channel ends all the same."""
    peer = Hostile.of_jami(lab, alice, 20)
    news = opened(alice, peer, "news")
    alice.cut()
    assert news.end(20 * SCALE)["reason"] == "connection-lost"
    assert not alice.connections()


def test_c1_what_came_before_the_connection_broke_is_delivered(netns, lab, alice):
    """All of a file, and its end, are in the daemon's kernel when a send finds the connection broken."""
    try:
        inside(alice.namespace, lambda: pathlib.Path("/proc/sys/net/ipv4/tcp_rmem").write_text("4096 16000000 16000000"))
    except OSError as refused:
        pytest.skip(f"the kernel's buffers are as they are: {refused}")
    peer = Hostile.of_jami(lab, alice, 20)
    download = opened(alice, peer, "download")
    alice.freeze()
    download.send(b"x" * 100_000)
    piece, count = b"." * 60_000, 10  # far more than one read takes
    for _ in range(count):
        peer.plain(jami(1, piece))
    peer.plain(jami(1))

    def unread():
        lines = inside(alice.namespace, lambda: run("ss", "-Htn", "state", "established")).splitlines()
        return max(int(line.split()[0]) for line in lines)

    until(lambda: unread() >= count * len(piece), 20 * SCALE, "all has come")
    alice.cut("reset")
    alice.thaw()
    assert len(download.receive(count * len(piece), 20 * SCALE)) == count * len(piece)
    download.end(20 * SCALE)
