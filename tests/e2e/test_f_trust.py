# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS F: trust, and the ICE-request policy."""
import collections

import pytest
from api_client import reason_of
from certificates import make_crl, split
from harness import SCALE, ApiError, Deadline, free_udp_port, until
from hostile import HOSTILE, NO_PATH, Hostile, device_of, numbers
from traffic import Echo, round_trip, subscribed

SHORT = 5 * SCALE


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
        channel = alice.api.open(bob.device, "echo")
        assert round_trip(channel, b"in") == b"in"
        bob.api.call("trust.unset", id=alice.device)
        assert channel.end(20 * SCALE)["reason"] == "not-permitted"
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


def chain_of(node):
    return node.api.call("identity.show")["chain"]


def test_f3_revoked(lab):
    """By a list that is imported while the peer is connected; over a restart; and found wherever the chain is seen."""
    alice, bob = lab.pair()
    device, account, ca = split(chain_of(alice))
    keys = alice.state / "identity"
    other = make_crl(lab.directory / "crl1", account, keys / "account.key", [account])  # not what it has issued
    of_device = make_crl(lab.directory / "crl2", account, keys / "account.key", [device])
    of_account = make_crl(lab.directory / "crl3", ca, keys / "ca.key", [account])
    with Echo(bob), Echo(alice):
        channel = alice.api.open(bob.device, "echo")
        assert bob.ctl("crl", "add", "-", input=other.encode()).returncode == 0
        assert round_trip(channel, b"not meant") == b"not meant"
        here, there = subscribed(alice), subscribed(bob)
        added = bob.ctl("crl", "add", "-", input=of_device.encode())
        assert added.returncode == 0, added.stderr
        assert channel.end(20)["reason"] == "bad-certificate"
        assert here.event("connection.closed", peer=bob.device)["reason"] == "bad-certificate"
        closed = there.event("connection.closed", peer=alice.device)
        assert closed["reason"] == "bad-certificate" and "revoked" in closed["detail"], closed
        no_connection(alice, bob)
        # We dial: known from its certificate. It dials: refused in TLS, and told why.
        with pytest.raises(ApiError) as refused:
            bob.api.open(alice.device, "echo", timeout=SHORT)
        assert (refused.value.reason, "revoked" in refused.value.detail) == ("bad-certificate", True)
        with pytest.raises(ApiError) as refused:
            alice.api.open(bob.device, "echo", timeout=SHORT)
        assert refused.value.reason == "bad-certificate"
        for watching, peer, direction in ((there, alice, "outgoing"), (here, bob, "outgoing"), (there, alice, "incoming")):
            failed = watching.event("connection.failed", peer=peer.device, direction=direction)
            assert failed["reason"] == "bad-certificate" and "revoked" in failed["detail"], failed
        bob.stop()
        bob.start()
        assert len(bob.api.call("crl.list")["crls"]) == 2
        assert reason_of(bob.api.open, alice.device, "echo", timeout=SHORT) == "bad-certificate"
        bob.api.call("crl.remove", crl=added.stdout.decode().strip())
    with Echo(alice):
        assert round_trip(bob.api.open(alice.device, "echo"), b"again") == b"again"
        bob.api.call("crl.add", pem=of_account)
        assert reason_of(bob.api.open, alice.device, "echo", timeout=SHORT) == "bad-certificate"
    assert reason_of(bob.api.call, "crl.add", pem="no list") == "bad-certificate"
    assert reason_of(bob.api.call, "crl.remove", crl="ab" * 32) == "not-found"


def test_f5_banning_a_connected_peer_ends_its_connection(lab):
    alice, bob = lab.pair()
    events = [subscribed(node) for node in (alice, bob)]
    bob.api.call("listen.add", uri="x")
    here = alice.api.open(bob.device, "x")
    there = bob.api.incoming()
    bob.api.call("trust.ban", id=alice.device)
    for channel, watching, peer in ((there, events[1], alice), (here, events[0], bob)):
        assert channel.end(10 * SCALE)["reason"] == "banned"
        assert watching.event("connection.closed", peer=peer.device)["reason"] == "banned"
    no_connection(alice, bob)


def test_f5_banning_a_peer_ends_its_attempt(lab, tmp_path):
    """While we dial it, and while it calls."""
    alice, bob = lab.pair(trust=False)
    events = subscribed(alice)
    # His refusal is silence. Now she knows his chain, which he might not have published yet when he is stopped.
    opening = alice.api.send("channel.open", peer=bob.device, uri="x", timeout=60 * SCALE)
    events.event("connection.progress", peer=bob.device, state="offered")
    alice.api.call("channel.cancel", id=opening)
    events.event("connection.failed", peer=bob.device)
    bob.allow(alice)
    fds = alice.fds()
    bob.freeze()
    opening = alice.api.send("channel.open", peer=bob.device, uri="x", timeout=60 * SCALE)
    events.event("connection.progress", peer=bob.device, state="offered")
    alice.api.call("trust.ban", id=bob.device)
    assert reason_of(alice.api.reply, opening, 10 * SCALE) == "banned"
    assert events.event("connection.failed", peer=bob.device)["reason"] == "banned"
    # What bob answers when he wakes comes to nothing, and his own call is refused.
    bob.thaw()
    opening = bob.api.send("channel.open", peer=alice.device, uri="x", timeout=60 * SCALE)
    assert events.event("request.refused", peer=bob.device)["reason"] == "banned"
    bob.api.call("channel.cancel", id=opening)
    # And who calls, while ICE looks for a path that is none.
    caller, device = Hostile.good(lab, HOSTILE).knows(alice), device_of(lab, HOSTILE)
    alice.api.call("trust.allow", id=device)
    text = tmp_path / "ice"
    text.write_text(NO_PATH)
    caller.say("claim", next(numbers), text).expect("put")
    events.event("connection.progress", peer=device, state="checking")
    alice.api.call("trust.ban", id=device)
    assert events.event("connection.failed", peer=device)["reason"] == "banned"
    caller.end()
    events.sync()
    assert not events.taken("event", type="connection.connected") and not events.taken("event", type="connection.failed")
    until(lambda: alice.fds() <= fds, 20 * SCALE, "nothing of it is left")


def test_f7_unknown_peer_that_we_dialled(lab):
    alice, bob = lab.pair(trust=False)
    bob.allow(alice)  # alice does not know bob
    alice.api.call("listen.add", uri="private")
    alice.api.call("listen.add", uri="public", peers="any")
    alice.api.call("listen.add", uri="named", peers=[bob.device])
    alice.api.call("listen.add", uri="others", peers=["ab" * 32])
    alice.api.call("listen.add", uri="asks", mode="ask")
    alice.api.call("listen.add", uri="asks all", mode="ask", peers="any")
    bob.api.call("listen.add", uri="x")
    alice.api.open(bob.device, "x")
    # Nor does he learn what there is: of a name that nobody listens for he hears the same.
    for uri in ("private", "others", "asks", "nobody listens"):
        assert reason_of(bob.api.open, alice.device, uri) == "not-permitted", uri
    request = bob.api.send("channel.open", peer=alice.device, uri="asks all")
    asked = alice.api.wait("channel.request")[0]
    assert (asked["uri"], asked["peer"]) == ("asks all", bob.device)
    alice.api.call("channel.decline", request=asked["request"])
    assert reason_of(bob.api.reply, request) == "declined"
    for uri in ("public", "named"):
        bob.api.open(alice.device, uri)
        assert alice.api.incoming().uri == uri
    alice.api.sync()
    assert not alice.api.taken("channel.opened") and not alice.api.taken("channel.request")


def ctl(node, *arguments, text="", code=0):
    """The command line's output; stderr where it is to fail."""
    done = node.ctl(*arguments, input=text.encode())
    assert done.returncode == code, (arguments, done)
    return (done.stderr if code else done.stdout).decode()


def belongs_to(node, account):
    def there():
        hello = node.api.call("hello", client="e2e")
        return hello["ready"] and hello.get("account") == account

    until(there, 40 * SCALE, f"{node.name} belongs to {account}")
    node.wait_ready()


def test_f8_second_device_of_an_account(lab):
    alice, carol, bob = (lab.node(name).start() for name in ("alice", "carol", "bob"))
    bob.api.call("trust.allow", id=alice.account)  # the account: no device by its own id
    before = carol.device
    request = ctl(carol, "identity", "request")
    chain = ctl(alice, "identity", "sign", "-", text=request)
    with Echo(bob):
        # Bob has just started: for a moment his certificate is not on the DHT yet.
        until(lambda: reason_of(carol.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused", 40 * SCALE,
              "refused, not unknown")
        assert carol.api.call("connection.list")["connections"] == []
        ctl(bob, "identity", "import", "-", text=chain, code=6)  # another device's
        ctl(carol, "identity", "import", "-", text=chain)
        belongs_to(carol, alice.account)
        assert carol.device == before
        shown = carol.api.call("identity.show")
        assert (shown["account_key"], split(shown["chain"])[1:]) == (False, split(chain_of(alice))[1:])
        channel = carol.api.open(bob.device, "echo")
        assert round_trip(channel, b"of the account") == b"of the account"
        ctl(carol, "identity", "sign", "-", text=request, code=4)
        carol.stop()
        carol.start()
        assert carol.account == alice.account
        assert round_trip(carol.api.open(bob.device, "echo"), b"again") == b"again"


def is_refused(caller, callee, events):
    """That an open is refused at the callee, and why; without waiting for the caller's time-out."""
    events.sync()
    events.taken("event", type="request.refused", peer=caller.device)
    request = caller.api.send("channel.open", peer=callee.device, uri="echo", timeout=40 * SCALE)
    reason = events.event("request.refused", peer=caller.device)["reason"]
    caller.api.call("channel.cancel", id=request)
    assert reason_of(caller.api.reply, request) == "cancelled"
    return reason


def test_f2_bans_above_and_below(lab):
    """Two devices of one account: a ban of one is its own; a ban of the account or CA covers the one never seen before."""
    alice, carol, bob = (lab.node(name).start() for name in ("alice", "carol", "bob"))
    chain = ctl(alice, "identity", "sign", "-", text=ctl(carol, "identity", "request"))
    ctl(carol, "identity", "import", "-", text=chain)
    belongs_to(carol, alice.account)
    ca = alice.status()["ca"]
    events = bob.client("events")
    events.call("events.subscribe")
    bob.api.call("trust.allow", id=alice.account)
    with Echo(bob):
        bob.api.call("trust.ban", id=alice.device)
        assert is_refused(alice, bob, events) == "banned"
        assert round_trip(carol.api.open(bob.device, "echo"), b"not banned") == b"not banned"
        bob.api.call("trust.unset", id=alice.device)
        assert round_trip(alice.api.open(bob.device, "echo"), b"restored") == b"restored"
        for kind, who in (("account", alice.account), ("ca", ca)):
            bob.api.call("trust.ban", id=who, kind=kind)
            no_connection(bob, alice, carol)
            assert is_refused(alice, bob, events) == "banned"
            # Nor does anything open to them.
            for peer in (alice.device, carol.device, alice.account):
                assert reason_of(bob.api.open, peer, "x", timeout=SHORT) == "banned", (kind, peer)
            bob.api.call("trust.unset", id=who, kind=kind)
        bob.api.call("trust.allow", id=alice.account)
        assert round_trip(carol.api.open(bob.device, "echo"), b"again") == b"again"
        # Never seen: a device joins while its account, or its CA, is banned.
        for name, kind, who in (("dave", "account", alice.account), ("erin", "ca", ca)):
            bob.api.call("trust.ban", id=who, kind=kind)
            never_seen(lab.node(name), alice, bob, events)
            bob.api.call("trust.unset", id=who, kind=kind)
        bob.api.sync()
        assert not bob.api.taken("channel.opened")


def never_seen(dave, alice, bob, events):
    """Dave joins alice's account, which bob has banned, or the CA above; the DHT knows no other chain of him."""
    dave.bootstrap = []
    dave.start(ready=False)
    until(lambda: dave.status()["state"] == "ready", 20 * SCALE, "he has his identity")
    chain = ctl(alice, "identity", "sign", "-", text=ctl(dave, "identity", "request"))
    ctl(dave, "identity", "import", "-", text=chain)
    until(lambda: dave.status().get("account") == alice.account, 20 * SCALE, "he has joined")
    dave.stop()
    dave.bootstrap = bob.bootstrap
    dave.start()
    outcomes = []

    def banned():
        outcomes.append(reason_of(bob.api.open, dave.device, "x", timeout=SHORT))
        return outcomes[-1] == "banned"

    until(banned, 40 * SCALE, "banned before any contact")
    assert set(outcomes[:-1]) <= {"not-found"}, "until his chain is on the DHT"
    until(lambda: is_refused(dave, bob, events) == "banned", 40 * SCALE, "refused as banned")
    # An allowed device below does not help: what its chain says is seen in TLS at the latest.
    bob.api.call("trust.allow", id=dave.device)
    assert reason_of(dave.api.open, bob.device, "echo") == "banned"
    assert events.event("connection.closed", peer=dave.device)["reason"] == "banned"
    assert reason_of(bob.api.open, dave.device, "x", timeout=SHORT) == "banned"


def test_f8_account_key_leaves_the_device(lab):
    alice, bob = lab.pair()
    carol = lab.node("carol").start()
    chain = ctl(alice, "identity", "sign", "-", text=ctl(carol, "identity", "request"))
    ctl(carol, "identity", "import", "-", text=chain)
    belongs_to(carol, alice.account)
    passphrase = lab.directory / "passphrase"
    passphrase.write_text("short\n")
    ctl(alice, "identity", "export-account", "--passphrase-file", str(passphrase), code=2)
    passphrase.write_text("correct horse\n")
    exported = ctl(alice, "identity", "export-account", "--passphrase-file", str(passphrase))
    assert "BEGIN PRIVATE KEY" not in exported and exported.count("BEGIN ENCRYPTED PRIVATE KEY") == 2
    ctl(alice, "identity", "forget-account-key")
    assert alice.api.call("identity.show")["account_key"] is False
    assert not (alice.state / "identity" / "account.key").exists() and not (alice.state / "identity" / "ca.key").exists()
    ctl(alice, "identity", "forget-account-key", code=4)
    # The device goes on working, over a restart too.
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"works") == b"works"
        alice.stop()
        alice.start()
        assert round_trip(alice.api.open(bob.device, "echo"), b"still") == b"still"
    # The key comes back where its account is, by its passphrase alone.
    ctl(bob, "identity", "import", "-", "--passphrase-file", str(passphrase), text=exported, code=6)
    ctl(carol, "identity", "import", "-", text=exported, code=2)
    ctl(carol, "identity", "import", "-", "--passphrase-file", str(passphrase), text=exported)
    assert carol.api.call("identity.show")["account_key"] is True
    ctl(carol, "identity", "sign", "-", text=ctl(bob, "identity", "request"))
    for node in (alice, bob, carol):
        logs = [path.read_text(errors="replace") for path in node.directory.glob("log.*")]
        assert len(logs) == node.runs and all(logs)
        assert not [log for log in logs if "correct horse" in log or "PRIVATE KEY" in log]


def test_f8_import_ends_connections_properly(lab):
    alice, bob = lab.pair()
    bob.api.call("listen.add", uri="x")
    here = alice.api.open(bob.device, "x")
    there = bob.api.incoming()
    chain = bob.api.call("identity.sign", request=alice.api.call("identity.request")["request"])["chain"]
    alice.api.call("identity.import", pem=chain)
    assert here.end(20)["reason"] == "shutting-down"
    assert there.end(20)["reason"] in ("connection-lost", "shutting-down")
    belongs_to(alice, bob.account)
    alice.api.call("identity.import", pem=chain)  # what it has already: nothing happens
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"joined") == b"joined"


def test_an_import_takes_questions_back(lab):
    """Nobody need answer what a network asked that is no more."""
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    owner = bob.client("owner")
    owner.call("policy.register")
    alice.api.send("channel.open", peer=bob.device, uri="x", timeout=SHORT)
    asked = owner.wait("connection.request")[0]["request"]
    chain = alice.api.call("identity.sign", request=bob.api.call("identity.request")["request"])["chain"]
    bob.api.call("identity.import", pem=chain)
    assert owner.wait("connection.request_cancelled")[0]["request"] == asked
    assert reason_of(owner.call, "connection.accept", request=asked) == "not-found"


def test_chains_that_are_imported_at_every_moment_make_one_network(lab):
    """The second and later ones meet the first at its end of the network, at its loading, and at its start anew."""
    # A port of its own: where two networks want it, the second one is the end of the daemon.
    alice, bob = lab.node("alice", "--dht-port", str(free_udp_port())).start(), lab.node("bob").start()
    alice.allow(bob)
    bob.allow(alice)
    request = alice.api.call("identity.request")["request"]
    chains = [bob.api.call("identity.sign", request=request)["chain"] for _ in range(2)]
    anew = "another identity: the network starts anew"
    answers, deadline = collections.Counter(), Deadline(60 * SCALE)
    while alice.process.log().count(anew) < 4:
        assert not deadline.passed(), answers
        for chain in chains:
            try:
                alice.api.call("identity.import", pem=chain)
                answers["done"] += 1
            except ApiError as refused:
                answers[refused.reason] += 1
    print(answers)
    assert set(answers) <= {"done", "not-ready"}, answers
    until(lambda: alice.status()["state"] == "ready", 20 * SCALE, "it starts for the last time")
    belongs_to(alice, bob.account)
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"joined") == b"joined"


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
        # Banned between the question and its answer: the answer is for nothing.
        request = alice.api.send("channel.open", peer=bob.device, uri="echo", timeout=SHORT)
        again = owner.wait("connection.request")[0]
        assert again["request"] > asked["request"]
        bob.api.call("trust.ban", id=alice.device)
        events = subscribed(bob)
        owner.call("connection.accept", request=again["request"])
        assert events.event("request.refused", peer=alice.device)["reason"] == "banned"
        assert not events.taken("event", type="connection.connecting")
        assert reason_of(alice.api.reply, request) == "no-answer-or-refused"
        bob.api.call("trust.unset", id=alice.device)
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
