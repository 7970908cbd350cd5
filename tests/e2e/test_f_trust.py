# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS F: trust, and the ICE-request policy."""
import pytest
from harness import SCALE, ApiError, until
from traffic import Echo, round_trip

SHORT = 5 * SCALE


def reason_of(call, *arguments, **options):
    with pytest.raises(ApiError) as caught:
        call(*arguments, **options)
    return caught.value.reason


def trust_in(node, peer):
    found = [entry["trust"] for entry in node.api.call("trust.list")["entries"] if entry["id"] == peer]
    assert len(found) <= 1
    return found[0] if found else "unknown"


def no_connection(*nodes):
    until(lambda: not any(node.connections() for node in nodes), 20 * SCALE, "no connection")


def disconnect(one, other):
    one.api.call("connection.close", peer=other.device)
    no_connection(one, other)


def test_f1_round_trips_and_restart(lab):
    alice, bob = lab.pair(trust=False)
    bob.api.call("trust.allow", id=alice.device)
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"in") == b"in"
        bob.api.call("trust.unset", id=alice.device)
        no_connection(bob)
        assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
    bob.api.call("trust.ban", id=alice.device)
    assert trust_in(bob, alice.device) == "banned"
    bob.kill()  # what was acknowledged is on the disk
    bob.start()
    assert trust_in(bob, alice.device) == "banned"
    assert reason_of(bob.api.open, alice.device, "x", timeout=SHORT) == "banned"
    bob.api.call("trust.allow", id=alice.device)
    bob.stop()
    bob.start()
    assert trust_in(bob, alice.device) == "allowed"
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"in") == b"in"
    bob.api.call("trust.unset", id=alice.device)
    assert trust_in(bob, alice.device) == "unknown"


def test_f2_account_and_ca(lab):
    alice, bob = lab.pair(trust=False)
    ca = alice.status()["ca"]
    with Echo(bob):
        for kind, who in (("account", alice.account), ("ca", ca)):
            bob.api.call("trust.allow", id=who, kind=kind)
            assert round_trip(alice.api.open(bob.device, "echo"), b"below") == b"below"
            assert trust_in(bob, who) == "allowed"
            bob.api.call("trust.unset", id=who, kind=kind)
            no_connection(bob)
            assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
            until(lambda: not alice.connections(bob), 20, "nothing is left")
        # A ban above wins over an allowed device below, and ends with the ban.
        bob.api.call("trust.allow", id=alice.device)
        bob.api.call("trust.ban", id=ca, kind="ca")
        assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
        bob.api.call("trust.unset", id=ca, kind="ca")
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"


def test_f5_banning_a_connected_peer_ends_its_connection(lab):
    alice, bob = lab.pair()
    bob.api.call("listen.add", uri="x")
    here = alice.api.open(bob.device, "x")
    there = bob.api.incoming()
    bob.api.call("trust.ban", id=alice.device)
    assert there.end(10)["reason"] in ("banned", "not-permitted", "connection-lost")
    assert here.end(10)["reason"] in ("banned", "not-permitted", "connection-lost")
    no_connection(alice, bob)


def test_f7_unknown_peer_that_we_dialled(lab):
    alice, bob = lab.pair(trust=False)
    bob.allow(alice)  # alice does not know bob
    alice.api.call("listen.add", uri="private")
    alice.api.call("listen.add", uri="public", peers="any")
    alice.api.call("listen.add", uri="named", peers=[bob.device])
    alice.api.call("listen.add", uri="others", peers=["ab" * 32])
    bob.api.call("listen.add", uri="x")
    alice.api.open(bob.device, "x")
    assert reason_of(bob.api.open, alice.device, "private") == "not-permitted"
    assert reason_of(bob.api.open, alice.device, "others") == "not-permitted"
    for uri in ("public", "named"):
        bob.api.open(alice.device, uri)
        assert alice.api.incoming().uri == uri
    alice.api.sync()
    assert not alice.api.taken("channel.opened") and not alice.api.taken("channel.request")


def test_policy_trusted_is_the_default_and_costs_no_ice(lab):
    alice, bob = lab.pair(trust=False)
    assert bob.status()["ice_request"] == "trusted"
    events = bob.client("events")
    events.call("events.subscribe")
    with Echo(bob, peers="any"):
        assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
    refused = events.event("request.refused", 20)
    assert refused["peer"] == alice.device and refused["count"] >= 1
    assert not events.taken("event", type="connection.progress")


def test_policy_anyone(lab):
    alice, bob = lab.pair("--ice-request", "anyone", trust=False)
    with Echo(bob, "any", peers="any"), Echo(bob, "known"):
        assert round_trip(alice.api.open(bob.device, "any"), b"stranger") == b"stranger"
        assert reason_of(alice.api.open, bob.device, "known") == "not-permitted"
        disconnect(alice, bob)
        bob.api.call("trust.ban", id=alice.device)
        assert reason_of(alice.api.open, bob.device, "any", timeout=SHORT) == "no-answer-or-refused"


def test_policy_ask(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    with Echo(bob, peers="any"):
        # Nobody has registered: declined.
        assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
        owner = bob.client("owner")
        owner.call("policy.register")
        with bob.client("second") as second:
            assert reason_of(second.call, "policy.register") == "busy"
        request = alice.api.send("channel.open", peer=bob.device, uri="echo")
        asked = owner.wait("connection.request")[0]
        assert (asked["peer"], asked["trust"]) == (alice.device, "unknown")
        owner.call("connection.accept", request=asked["request"])
        assert round_trip(alice.api.opened(request), b"once") == b"once"
        assert trust_in(bob, alice.device) == "unknown"
        disconnect(alice, bob)
        # An allowed peer is not asked about.
        bob.allow(alice)
        assert round_trip(alice.api.open(bob.device, "echo"), b"known") == b"known"
        owner.sync()
        assert not owner.taken("connection.request")
        # The owner leaves: its place is free.
        owner.close()
        bob.apis.remove(owner)

        def free():
            try:
                return bob.api.call("policy.register") == {}
            except ApiError:
                return False

        until(free, 10, "the policy's owner is gone")


def test_alias_names_a_peer(lab):
    alice, bob = lab.pair()
    alice.api.call("alias.set", name="bob", device=bob.device)
    with Echo(bob):
        assert alice.api.open("bob", "echo").device == bob.device
    alice.stop()
    alice.start()
    assert alice.api.call("alias.list")["aliases"] == [{"name": "bob", "device": bob.device}]
    alice.api.call("alias.remove", name="bob")
    assert reason_of(alice.api.open, "bob", "echo") in ("not-found", "invalid-argument")
