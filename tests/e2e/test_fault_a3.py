# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault A3: chains that somebody else has made for a device's key, on the DHT and in the store; and old ones."""
import base64

import pytest
from api_client import ApiError, reason_of
from certificates import split
from harness import SANITIZER, SCALE
from plants import EXPIRED, NOT_YET, Planter
from test_robust import Clock
from traffic import Echo, round_trip, subscribed

TIME = 15 * SCALE
YEAR = 365 * 86_400


def reaches(one, other, how=None):
    """A fresh connection, and bytes there and back."""
    with Echo(other):
        channel = one.api.open(how or other.device, "echo", timeout=TIME)
        assert round_trip(channel, b"here") == b"here"
        channel.close()
    one.api.call("connection.close", peer=other.device)


def store_of(node):
    return node.state / "certificates"


def remember(node, other, chain):
    """What an older version may have left in the store, under each name that it has had."""
    store_of(node).mkdir(mode=0o700, exist_ok=True)
    der = b"".join(map(der_of, split(chain.read_text())))
    for path in {store_of(node) / f"{other.device}.der", *store_of(node).glob(f"{other.device}*")}:
        path.write_bytes(der)


def der_of(pem):
    return base64.b64decode("".join(pem.strip().splitlines()[1:-1]))


@pytest.mark.parametrize("kind", ["expired", "another account's"])
def test_fault_a3_planted_before_the_device_came(lab, kind):
    """At each of its keys, first: it is found all the same, by both ids, and afterwards calls and is called, over restarts."""
    alice, bob = lab.node("alice"), lab.node("bob")
    planter = Planter(lab)
    chain = planter.certify(bob, *([EXPIRED] if kind == "expired" else []))
    assert planter.put(chain) >= 2  # storage nodes of OpenDHT 2.4 refuse it under the long id
    alice.start()
    bob.start()
    short = bob.api.call("identity.show")["short_device"]
    bob.api.call("trust.allow", id=alice.device)
    alice.api.call("trust.allow", id=bob.account)
    reaches(alice, bob, short)
    reaches(bob, alice)
    alice.stop()
    alice.start()
    reaches(bob, alice)
    reaches(alice, bob)


@pytest.mark.parametrize("kind", ["expired", "another account's"])
def test_fault_a3_planted_for_who_calls(lab, kind):
    """Who is allowed by its account is let in at its first call; who is not, is not; a ban of the planter's account is not its."""
    alice, bob = lab.node("alice"), lab.node("bob")
    planter = Planter(lab)
    planter.put(planter.certify(bob, *([EXPIRED] if kind == "expired" else [])))
    alice.start()
    bob.start()
    bob.api.call("trust.allow", id=alice.device)
    alice.api.call("trust.ban", id=planter.account_id, kind="account")
    refusals = subscribed(alice)
    with Echo(alice):
        assert reason_of(bob.api.open, alice.device, "echo", timeout=4 * SCALE) == "no-answer-or-refused"
    assert refusals.event("request.refused", peer=bob.device)["reason"] == "not-permitted"
    alice.api.call("trust.allow", id=bob.account)
    reaches(bob, alice)
    refusals.sync()
    assert not refusals.taken("event", type="request.refused")


@pytest.mark.parametrize("dates", [EXPIRED, NOT_YET])
def test_fault_a3_a_renewed_certificate(lab, dates):
    """Whoever has the old one in store takes the new one, both ways; it is then the one that is kept."""
    alice, bob = lab.node("alice"), lab.node("bob")
    keys = bob.state / "identity"
    account = lab.directory / "account.pem"
    account.write_text("".join(split((keys / "chain.pem").read_text())[1:]))
    old = Planter(lab).certify(bob, dates, account, keys / "account.key")
    for node in (alice, bob):
        node.start()
    bob.allow(alice)
    alice.api.call("trust.allow", id=bob.account)
    for first, second in ((alice, bob), (bob, alice)):
        alice.stop()
        remember(alice, bob, old)
        alice.start()
        reaches(first, second)
        reaches(second, first)
        kept = [path.read_bytes() for path in store_of(alice).glob(f"{bob.device}*")]
        assert kept == [b"".join(map(der_of, split((keys / "chain.pem").read_text())))]


def test_fault_a3_the_error_says_what_was_wrong(lab):
    """Where nothing good comes: its own certificate is the expired one, in TLS too."""
    alice, bob = lab.node("alice"), lab.node("bob")
    keys = bob.state / "identity"
    account = lab.directory / "account.pem"
    account.write_text("".join(split((keys / "chain.pem").read_text())[1:]))
    expired = Planter(lab).certify(bob, EXPIRED, account, keys / "account.key").read_text()
    for node in (alice, bob):
        (node is bob) and (keys / "chain.pem").write_text(expired)
        node.start()
    bob.allow(alice)
    alice.api.call("trust.allow", id=bob.account)
    refusals = subscribed(alice)
    with pytest.raises(ApiError) as refused:
        alice.api.open(bob.device, "x", timeout=TIME)
    assert refused.value.reason == "bad-certificate" and "expired" in refused.value.detail, refused.value
    assert reason_of(bob.api.open, alice.device, "x", timeout=6 * SCALE) == "no-answer-or-refused"
    told = refusals.event("request.refused", peer=bob.device)
    assert told["reason"] == "bad-certificate" and "expired" in told["detail"], told


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
@pytest.mark.parametrize("years", [-60, 60])
def test_fault_a3_the_clock_is_wrong_for_a_while(lab, years):
    """All certificates are out of date by it, and what is in store. Set right, all is as it was, at once."""
    alice, bob = lab.node("alice"), lab.node("bob")
    clock = Clock(alice)
    for node in (alice, bob):
        node.start()
    bob.allow(alice)
    alice.api.call("trust.allow", id=bob.account)
    reaches(bob, alice)
    clock.shift(years * YEAR)
    assert reason_of(bob.api.open, alice.device, "x", timeout=5 * SCALE) != "closed"
    assert reason_of(alice.api.open, bob.device, "x", timeout=5 * SCALE) == "bad-certificate"
    clock.shift(0)
    reaches(bob, alice)
    reaches(alice, bob)
