# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS F3: certificates that are no good, of peers that we dialled, and of those whose request alone is looked at."""
import pytest
from api_client import ApiError
from certificates import make_crl, split
from harness import SCALE
from hostile import CERTIFICATES, Hostile, bad_identity, dial
from traffic import subscribed


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_f3_bad_certificate_of_a_peer_that_was_dialled(nodes, shared_lab, kind):
    """Its chain on the DHT is good: it is in TLS that it presents the other one."""
    alice, _ = nodes
    state = shared_lab.directory / f"bad-{kind}"
    device = bad_identity(kind, state)
    alice.api.call("trust.allow", id=device)
    hostile = Hostile(shared_lab, state / "good", state).knows(alice)
    events = subscribed(alice)
    hostile.say("answer").expect("answering")
    opening = dial(alice.api, events, device, 30 * SCALE)
    hostile.expect("path")
    hostile.say("tls")
    with pytest.raises(ApiError) as refused:
        alice.api.reply(opening)
    failed = events.event("connection.failed", peer=device)
    for reason, detail in ((refused.value.reason, refused.value.detail), (failed["reason"], failed["detail"])):
        assert reason == "bad-certificate" and CERTIFICATES[kind] in detail, detail
    assert "certificate" in hostile.expect("down")
    events.sync()
    assert not events.taken("event", type="connection.connected")
    # Nobody tries again with what is final.
    assert not events.taken("event", type="connection.connecting", connection=failed["connection"] + 1)
    hostile.end()


def test_f3_revoked_device_of_an_allowed_account_costs_no_ice(lab):
    """Its request is refused for what its chain says, before anything is gathered."""
    alice, bob = lab.pair(trust=False)
    device, account, _ = split(alice.api.call("identity.show")["chain"])
    revoked = make_crl(lab.directory / "crl", account, alice.state / "identity" / "account.key", [device])
    bob.api.call("trust.allow", id=alice.account)
    bob.api.call("listen.add", uri="x")
    alice.api.open(bob.device, "x").close()  # allowed by its account
    bob.api.call("connection.close", peer=alice.device)
    bob.api.call("crl.add", pem=revoked)
    events = subscribed(bob)
    opening = alice.api.send("channel.open", peer=bob.device, uri="x", timeout=40 * SCALE)
    refused = events.event("request.refused", peer=alice.device)
    assert refused["reason"] == "bad-certificate" and "revoked" in refused["detail"], refused
    alice.api.call("channel.cancel", id=opening)
    events.sync()
    assert not events.taken("event", type="connection.connecting") and not bob.connections()
