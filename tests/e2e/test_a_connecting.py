# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS A: connecting."""
import hashlib
import subprocess
import threading
import time

import pytest
from api_client import ApiError, reason_of
from attempts import told
from harness import SCALE, Lab, Late, Process, sized, until
from hostile import device_of
from traffic import Echo, round_trip, subscribed


def shown(node, peer):
    return [(c["state"], c["direction"]) for c in node.connections(peer)]


def progress(events, connection=None):
    """The states that attempts went through, as far as they are told by now."""
    return [(e["connection"], e["state"]) for e in told(events, "connection.progress")
            if connection in (None, e["connection"])]


def test_a1_open_by_device_id_alone(lab):
    alice, bob = lab.pair(trust=False)
    bob.allow(alice)
    bob.api.call("listen.add", uri="file://", prefix=True, mode="ask")
    events = subscribed(alice)
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
        events = subscribed(alice)
        channel = alice.api.open(bob.device, "echo again")
        assert round_trip(channel, b"x") == b"x"
    assert [state for _, state in progress(events)][-1] == "ready"
    assert lookups(alice) == before + 1


def test_a3_refused_at_the_connection_stage(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    bob.api.call("policy.register")
    bob.api.call("listen.add", uri="echo", peers="any")
    there = subscribed(bob)
    seconds = 6 * SCALE  # the request is put twice more
    with Late() as late:
        begun = time.monotonic()
        request = alice.api.send("channel.open", peer=bob.device, uri="echo", timeout=seconds)
        asked = bob.api.wait("connection.request")[0]
        assert (asked["peer"], asked["trust"]) == (alice.device, "unknown")
        bob.api.call("connection.decline", request=asked["request"])
        assert reason_of(alice.api.reply, request) == "no-answer-or-refused"
        assert seconds - 0.1 <= time.monotonic() - begun < seconds + 3 * SCALE + late.seconds
    bob.api.sync()
    assert not bob.api.taken("connection.request"), "asked twice"
    assert not told(there, "connection.connecting")
    assert not bob.api.taken("channel.opened")
    assert bob.api.call("channel.list")["channels"] == alice.api.call("channel.list")["channels"] == []


def test_a4_accepted_at_both_stages(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    bob.api.call("policy.register")
    bob.api.call("listen.add", uri="both", mode="ask", peers="any")
    request = alice.api.send("channel.open", peer=bob.device, uri="both")
    peer = bob.api.wait("connection.request")[0]["request"]
    bob.api.call("connection.accept", request=peer)
    asked = bob.api.wait("channel.request")[0]
    accepted = bob.api.opened(bob.api.send("channel.accept", request=asked["request"]))
    opened = alice.api.opened(request)
    assert (opened.device, accepted.device) == (bob.device, alice.device)
    here, there = alice.api.call("channel.list")["channels"], bob.api.call("channel.list")["channels"]
    assert [(c["uri"], c["peer"], c["direction"]) for c in here] == [("both", bob.device, "outgoing")]
    assert [(c["uri"], c["peer"], c["direction"]) for c in there] == [("both", alice.device, "incoming")]
    assert reason_of(bob.api.call, "connection.accept", request=peer) == "not-found"
    assert reason_of(bob.api.call, "channel.accept", request=asked["request"]) == "not-found"


def test_a5_state_of_a_peer_is_visible(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    bob.api.call("policy.register")
    bob.api.call("listen.add", uri="echo", peers="any")
    events, there = subscribed(alice), subscribed(bob)
    assert alice.connections(bob) == bob.connections(alice) == []
    with_bob = alice.api.send("channel.open", peer=bob.device, uri="echo")
    asked = bob.api.wait("connection.request")[0]
    assert shown(alice, bob) == [("connecting", "outgoing")]
    assert bob.connections(alice) == []
    alice.freeze()  # so that `connecting` lasts until somebody has looked
    bob.api.call("connection.accept", request=asked["request"])
    there.event("connection.connecting", peer=alice.device)
    assert shown(bob, alice) == [("connecting", "incoming")]
    alice.thaw()
    channel = alice.api.opened(with_bob)
    events.event("connection.connected", peer=bob.device)
    there.event("connection.connected", peer=alice.device)
    assert shown(alice, bob) == [("connected", "outgoing")]
    assert shown(bob, alice) == [("connected", "incoming")]
    channel.close()
    alice.api.call("connection.close", peer=bob.device)
    events.event("connection.closed", peer=bob.device)
    there.event("connection.closed", peer=alice.device)
    assert alice.connections(bob) == bob.connections(alice) == []


def fds_with_client(node):
    node.api.sync()
    return node.fds()


def test_a6_peer_is_offline(lab):
    """For who has its certificate, and for who finds it on the DHT."""
    alice, bob = lab.pair()
    carol = lab.node("carol").start()
    with Echo(bob):
        alice.api.open(bob.device, "echo").close()
    bob.allow(carol)
    bob.stop()
    until(lambda: not alice.connections(bob), 30, "the connection's end")
    callers = (alice, carol)
    fds = [fds_with_client(node) for node in callers]
    for _ in range(sized(2, 2, 5)):
        requests = [node.api.send("channel.open", peer=bob.device, uri="echo", timeout=4 * SCALE) for node in callers]
        # What each knows of him is said (fault F).
        for node, request, known in zip(callers, requests, ("has met it before (last connected", "its certificate is on the DHT")):
            with pytest.raises(ApiError) as silent:
                node.api.reply(request)
            assert silent.value.reason == "no-answer-or-refused" and known in silent.value.detail, silent.value
    for node, before in zip(callers, fds):
        assert node.connections() == [] and node.status()["counts"]["pending_opens"] == 0
        until(lambda node=node, before=before: node.fds() <= before, 20 * SCALE, f"no more fds than before ({before})")
    bob.start()
    with Echo(bob):
        for node in callers:
            assert round_trip(node.api.open(bob.device, "echo"), b"back") == b"back"


def test_a6_peer_does_not_exist_and_then_it_does(lab):
    alice, bob = lab.node("alice").start(), lab.node("bob")
    device, fds = device_of(lab, bob.number), fds_with_client(alice)
    for peer in ("5a" * 32, device) * sized(2, 3, 5):
        assert reason_of(alice.api.open, peer, "echo", timeout=5 * SCALE) == "not-found"
    assert alice.connections() == [] and alice.status()["counts"]["pending_opens"] == 0
    until(lambda: alice.fds() <= fds, 20 * SCALE, f"no more fds than before ({fds})")
    bob.start()
    assert bob.device == device
    bob.allow(alice)
    with Echo(bob):
        assert round_trip(alice.api.open(device, "echo"), b"new") == b"new"


def dial_each_other(alice, bob, uri):
    """Both in one moment; the requests."""
    for node in (alice, bob):
        node.api.sync()
        node.freeze()
    here = alice.api.send("channel.open", peer=bob.device, uri=uri)
    there = bob.api.send("channel.open", peer=alice.device, uri=uri)
    for node in (alice, bob):
        node.thaw()
    return here, there


def hang_up(alice, bob):
    alice.api.call("connection.close", peer=bob.device)
    bob.api.call("connection.close", peer=alice.device)
    until(lambda: not alice.connections(bob) and not bob.connections(alice), 10 * SCALE, "both closed")


def dialled(events):
    return bool([e for e in told(events, "connection.connecting") if e["direction"] == "outgoing"])


def test_a7_both_dial_at_once(lab):
    alice, bob = lab.pair()
    rounds, both = sized(5, 12, 50), 0
    events = [subscribed(node) for node in (alice, bob)]
    with Echo(alice) as at_alice, Echo(bob) as at_bob:
        for number in range(rounds):
            here, there = dial_each_other(alice, bob, f"echo {number}")
            channels = [alice.api.opened(here), bob.api.opened(there)]
            for channel in channels:
                assert round_trip(channel, b"both") == b"both"
                channel.finish()
                assert channel.receive_all() == b""
                assert channel.end()["reason"] == "closed"
                channel.close()
            hang_up(alice, bob)
            both += all([dialled(client) for client in events])
        # Each name came to its listener, once.
        assert at_alice.uris == at_bob.uris == [f"echo {number}" for number in range(rounds)]
    print(f"both dialled in {both} of {rounds} rounds")
    assert both > rounds // 2


def both_came(alice, bob):
    """Whether two calls that crossed have become two connections: the second one, if it comes, a moment after the first."""
    end = time.monotonic() + 0.5 * SCALE
    while time.monotonic() < end:
        states = [c["state"] for node, peer in ((alice, bob), (bob, alice)) for c in node.connections(peer)]
        if states == ["connected"] * 4:
            return True
    return False


def test_a7_spare_connection_goes_when_idle(lab):
    alice, bob = lab.pair()
    events = subscribed(alice)
    with Echo(alice), Echo(bob):
        for number in range(1, 101):
            here, there = dial_each_other(alice, bob, "echo")
            channels = [alice.api.opened(here), bob.api.opened(there)]
            if both_came(alice, bob):
                break
            for channel in channels:
                channel.close()
            hang_up(alice, bob)
        else:
            pytest.fail("never two connections")
        print(f"a second connection in round {number}")
        told(events, "connection.closed")
        # New channels go over the one that both prefer; without the old ones the other is spare, and has 10 s.
        kept = alice.api.open(bob.device, "echo")
        for channel in channels:
            channel.close()
        assert events.event("connection.closed", 40, peer=bob.device)["reason"] == "idle"
        until(lambda: len(alice.connections(bob)) == len(bob.connections(alice)) == 1, 10, "one connection is left")
        assert round_trip(kept, b"still") == b"still"


def ignored(node):
    return node.status()["metrics"]["dht_requests_ignored"]


def test_a9_forged_requests_and_answers(lab):
    """What anybody can put where we listen: not signed; signed, but not encrypted; encrypted to us, but no request."""
    alice, bob = lab.pair()
    short = bob.api.call("identity.show")["short_device"]
    keys = [hashlib.sha1(f"peer:{name}".encode()).hexdigest() for name in (bob.device, short)]
    events, before = subscribed(bob), ignored(bob)
    forger = Process(["dhtnode", "-i", "-n", "0", "-p", "4555", "-b", lab.dht_address()], lab.directory / "forger.log", lab.hub,
                     stdin=subprocess.PIPE)
    lab.helpers.append(forger.popen)
    lines = [f"{verb} {key} {destination}junk{n}" for n in range(20) for key in keys
             for verb, destination in (("p", ""), ("s", ""), ("e", f"{short} "))]
    forger.popen.stdin.write(("\n".join(lines) + "\n").encode())
    forger.popen.stdin.flush()
    until(lambda: forger.log().count("success") >= len(lines) // 2, 60 * SCALE, "the forger's puts")
    # What is encrypted, but no request, is not counted here.
    until(lambda: ignored(bob) >= before + 20, 20 * SCALE, "they have come")
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"ours") == b"ours"
    events.sync()
    attempts = {e["connection"] for e in events.taken("event", type="connection.progress")}
    assert len(attempts) == 1, "a forged request cost an attempt"


def test_a13_first_connection_raises_one_event(lab):
    alice, bob = lab.pair()
    here, there = subscribed(alice), subscribed(bob)
    with Echo(bob):
        for number in range(3):
            alice.api.open(bob.device, f"echo {number}")
        alice.api.call("connection.close", peer=bob.device)
        until(lambda: not alice.connections(bob) and not bob.connections(alice), 10, "the connection's end")
        alice.api.open(bob.device, "echo 4")
    for events, peer in ((here, bob), (there, alice)):
        first, second = told(events, "connection.connected")
        assert first["certificate"] == peer.api.call("identity.show")["chain"]
        assert "certificate" not in second


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
