# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS A: connecting."""
import hashlib
import subprocess
import threading

from attempts import reason_of, subscribe, told
from harness import SCALE, ApiError, Lab, Process, sized, until
from traffic import Echo, round_trip


def open_state(node, peer):
    return [c["state"] for c in node.connections(peer)]


def progress(events, connection=None):
    """The states that attempts went through, as far as they are told by now."""
    return [(e["connection"], e["state"]) for e in told(events, "connection.progress")
            if connection in (None, e["connection"])]


def test_a1_open_by_device_id_alone(lab):
    alice, bob = lab.pair(trust=False)
    bob.allow(alice)
    bob.api.call("listen.add", uri="file://", prefix=True, mode="ask")
    events = subscribe(alice)
    request = alice.api.send("channel.open", peer=bob.device, uri="file://file1")
    asked = bob.api.wait("channel.request")[0]
    assert (asked["uri"], asked["peer"], asked["account"]) == ("file://file1", alice.device, alice.account)
    accepted = bob.api.opened(bob.api.send("channel.accept", request=asked["request"]))
    opened = alice.api.opened(request)
    assert (opened.device, opened.account, opened.half_close) == (bob.device, bob.account, True)
    assert round_trip_between(opened, accepted)
    states = [state for _, state in progress(events)]
    assert [s for s in states if s in ("resolving", "gathering", "offered", "checking", "handshaking", "ready")] == [
        "resolving", "gathering", "offered", "checking", "handshaking", "ready"]


def round_trip_between(one, other):
    one.send(b"there")
    other.send(b"and back")
    return other.receive(5) == b"there" and one.receive(8) == b"and back"


def lookups(node):
    return node.status()["metrics"]["dht_lookups"]


def test_a2_known_certificate_needs_no_lookup(lab):
    alice, bob = lab.pair()
    before = lookups(alice)
    with Echo(bob):
        alice.api.open(bob.device, "echo").close()
        assert lookups(alice) == before + 1
        assert alice.api.call("connection.close", peer=bob.device)["closed"] == 1
        until(lambda: not alice.connections(bob), 10, "the connection's end")
        events = subscribe(alice)
        channel = alice.api.open(bob.device, "echo again")
        assert round_trip(channel, b"x") == b"x"
    assert [state for _, state in progress(events)][-1] == "ready"
    assert lookups(alice) == before + 1


def test_a3_refused_at_the_connection_stage(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    bob.api.call("policy.register")
    bob.api.call("listen.add", uri="echo", peers="any")
    request = alice.api.send("channel.open", peer=bob.device, uri="echo", timeout=6 * SCALE)
    asked = bob.api.wait("connection.request")[0]
    assert (asked["peer"], asked["trust"]) == (alice.device, "unknown")
    bob.api.call("connection.decline", request=asked["request"])
    assert reason_of(alice.api.reply, request) == "no-answer-or-refused"
    bob.api.sync()
    assert not bob.api.taken("channel.opened")
    assert bob.api.call("channel.list")["channels"] == alice.api.call("channel.list")["channels"] == []


def test_a4_accepted_at_both_stages(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    bob.api.call("policy.register")
    bob.api.call("listen.add", uri="both", mode="ask", peers="any")
    request = alice.api.send("channel.open", peer=bob.device, uri="both")
    asked = bob.api.wait("connection.request")[0]
    bob.api.call("connection.accept", request=asked["request"])
    asked = bob.api.wait("channel.request")[0]
    accepted = bob.api.opened(bob.api.send("channel.accept", request=asked["request"]))
    opened = alice.api.opened(request)
    assert (opened.device, accepted.device) == (bob.device, alice.device)
    here, there = alice.api.call("channel.list")["channels"], bob.api.call("channel.list")["channels"]
    assert [(c["uri"], c["peer"], c["direction"]) for c in here] == [("both", bob.device, "outgoing")]
    assert [(c["uri"], c["peer"], c["direction"]) for c in there] == [("both", alice.device, "incoming")]
    assert reason_of(bob.api.call, "connection.accept", request=asked["request"]) == "not-found"


def test_a5_state_of_a_peer_is_visible(lab):
    alice, bob = lab.pair()
    assert alice.connections(bob) == []
    bob.freeze()  # so that `connecting` lasts until somebody has looked
    events = subscribe(alice)
    with_bob = alice.api.send("channel.open", peer=bob.device, uri="echo")
    events.event("connection.progress", state="offered", peer=bob.device)
    assert open_state(alice, bob) == ["connecting"]
    bob.thaw()
    bob.api.call("listen.add", uri="echo")
    channel = None
    try:
        channel = alice.api.opened(with_bob)
    except ApiError as error:  # the request came before the listener did
        assert error.reason == "no-listener"
    events.event("connection.connected", peer=bob.device)
    assert open_state(alice, bob) == open_state(bob, alice) == ["connected"]
    assert alice.connections(bob)[0]["direction"] == "outgoing"
    assert bob.connections(alice)[0]["direction"] == "incoming"
    if channel:
        channel.close()
    alice.api.call("connection.close", peer=bob.device)
    events.event("connection.closed", peer=bob.device)
    until(lambda: not alice.connections(bob) and not bob.connections(alice), 10, "no connection")


def test_a6_peer_does_not_exist_or_is_offline(lab):
    alice, bob = lab.pair()
    nobody = "5a" * 32
    fds = alice.fds()
    assert reason_of(alice.api.open, nobody, "echo", timeout=20 * SCALE) == "not-found"
    with Echo(bob):
        alice.api.open(bob.device, "echo").close()
    bob.stop()
    until(lambda: not alice.connections(bob), 30, "the connection's end")
    assert reason_of(alice.api.open, bob.device, "echo", timeout=5 * SCALE) == "no-answer-or-refused"
    until(lambda: alice.fds() <= fds + 2, 20 * SCALE, f"no more fds than before ({fds}), now {alice.fds()}")
    assert alice.status()["counts"]["pending_opens"] == 0
    bob.start()
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"back") == b"back"


def test_a7_both_dial_at_once(lab):
    alice, bob = lab.pair()
    rounds = sized(5, 12, 50)
    with Echo(alice), Echo(bob):
        for number in range(rounds):
            here = alice.api.send("channel.open", peer=bob.device, uri=f"echo {number}")
            there = bob.api.send("channel.open", peer=alice.device, uri=f"echo {number}")
            channels = [alice.api.opened(here), bob.api.opened(there)]
            for channel in channels:
                assert round_trip(channel, b"both") == b"both"
                channel.finish()
                assert channel.receive_all() == b""
                assert channel.end()["reason"] == "closed"
                channel.close()
            alice.api.call("connection.close", peer=bob.device)
            bob.api.call("connection.close", peer=alice.device)
            until(lambda: not alice.connections(bob) and not bob.connections(alice), 10 * SCALE, "both closed")


def test_a7_spare_connection_goes_when_idle(lab):
    alice, bob = lab.pair()
    with Echo(alice), Echo(bob):
        here = alice.api.send("channel.open", peer=bob.device, uri="echo")
        there = bob.api.send("channel.open", peer=alice.device, uri="echo")
        channels = [alice.api.opened(here), bob.api.opened(there)]
        channels[1].close()
        # The one that carries a channel stays; a second one has 10 s without channels.
        until(lambda: len(alice.connections(bob)) == len(bob.connections(alice)) == 1, 40, "one connection is left")
        assert round_trip(channels[0], b"still") == b"still"


def test_a9_forged_requests_and_answers(lab):
    """What anybody can put where we listen: not signed; signed, but not encrypted; encrypted to us, but no request."""
    alice, bob = lab.pair()
    short = bob.api.call("identity.show")["short_device"]
    keys = [hashlib.sha1(f"peer:{name}".encode()).hexdigest() for name in (bob.device, short)]
    events = subscribe(bob)
    forger = Process(["dhtnode", "-i", "-n", "0", "-p", "4555", "-b", lab.dht_address()], lab.directory / "forger.log", lab.hub,
                     stdin=subprocess.PIPE)
    lab.helpers.append(forger.popen)
    lines = [f"{verb} {key} {destination}junk{n}" for n in range(20) for key in keys
             for verb, destination in (("p", ""), ("s", ""), ("e", f"{short} "))]
    forger.popen.stdin.write(("\n".join(lines) + "\n").encode())
    forger.popen.stdin.flush()
    until(lambda: forger.log().count("success") >= len(lines) // 2, 60 * SCALE, "the forger's puts")
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"ours") == b"ours"
    events.sync()
    attempts = {e["connection"] for e in events.taken("event", type="connection.progress")}
    assert len(attempts) == 1, "a forged request cost an attempt"


def test_a13_first_connection_raises_one_event(lab):
    alice, bob = lab.pair()
    events = subscribe(alice)
    with Echo(bob):
        for number in range(3):
            alice.api.open(bob.device, f"echo {number}")
        alice.api.call("connection.close", peer=bob.device)
        until(lambda: not alice.connections(bob), 10, "the connection's end")
        alice.api.open(bob.device, "echo 4")
    events.sync()
    connected = events.taken("event", type="connection.connected")
    assert len(connected) == 2
    assert [bool(event.get("first")) for event in connected] == [True, False]
    assert connected[0]["certificate"].startswith("-----BEGIN CERTIFICATE-----")


def test_a14_lan_only(netns):
    with Lab(dht=False) as lab:
        alice = lab.node("alice", bootstrap=[], lan_discovery=True)
        bob = lab.node("bob", bootstrap=[], lan_discovery=True)
        alice.start(ready=False)
        bob.start(ready=False)
        alice.wait_ready(60)
        bob.wait_ready(60)
        bob.allow(alice)
        with Echo(bob):
            assert round_trip(alice.api.open(bob.device, "echo"), b"lan") == b"lan"


def test_one_daemon_is_the_others_bootstrap(netns):
    with Lab(dht=False) as lab:
        alice = lab.node("alice", "--dht-port", "4300", bootstrap=[])
        bob = lab.node("bob", bootstrap=[f"{alice.address}:4300"])
        alice.start(ready=False)
        bob.start()
        alice.wait_ready()
        bob.allow(alice)
        with Echo(bob):
            assert round_trip(alice.api.open(bob.device, "echo"), b"direct") == b"direct"


def test_first_start_makes_an_identity_once(lab):
    node = lab.node("new", identity_number="none")
    node.start(ready=False)  # at once: keys are made off the loop
    hello = node.api.call("hello", client="early")
    assert not hello["ready"] or hello["device"]
    node.wait_ready(120 * SCALE)
    device, shown = node.device, node.api.call("identity.show")
    assert shown["device"] == device and shown["account_key"] is True and shown["chain"].count("BEGIN CERTIFICATE") == 3
    node.stop()
    node.start()
    assert node.device == device


def test_opens_from_many_threads_share_one_attempt(lab):
    alice, bob = lab.pair()
    failures = []

    def one(number):
        try:
            with alice.client() as client:
                assert round_trip(client.open(bob.device, f"echo {number}"), b"t") == b"t"
        except Exception as error:  # told by the main thread
            failures.append(error)

    with Echo(bob):
        clients = [threading.Thread(target=one, args=(n,)) for n in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
    assert not failures
    assert len(alice.connections(bob)) == 1
