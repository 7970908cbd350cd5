# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G: what status tells of the daemon's options, the times that clients have to answer, and events of the daemon
itself."""
import re
import subprocess

import pytest
from harness import DAEMON, SCALE, ApiError

# Every option that bounds something, by its name and the word for its value.
OPTION = re.compile(r"^  --(max-[a-z-]+|dht-max-[a-z-]+|[a-z-]+-timeout|[a-z-]+-per-minute|keepalive) (N|KIB|MIB|SECONDS)\b", re.MULTILINE)
# Allowed for all of them: dht-max-searches wants 16 at least, max-unknown-lookups 64 at most.
FIRST_VALUE, MAX_VALUE = 16, 64
# The opener's own time has to be longer than the second that whoever is asked has.
ASKED_SECONDS, OPENER_SECONDS = 1, 3 * SCALE


def member_of(option, unit):
    return option.replace("-", "_") + ("_s" if unit == "SECONDS" else "")


def test_status_has_every_limit_with_its_value(lab):
    text = subprocess.run([DAEMON, "--help"], capture_output=True, text=True, check=True).stdout
    options = OPTION.findall(text)
    assert {"max-setups", "dht-max-store", "policy-timeout", "unknown-lookups-per-minute"} <= {name for name, _ in options}
    values = {option: FIRST_VALUE + number for number, option in enumerate(options)}
    assert max(values.values()) <= MAX_VALUE
    given = [word for (name, _), value in values.items() for word in (f"--{name}", str(value))]
    node = lab.node("node", *given, bootstrap=[]).start(ready=False)
    limits = node.status()["limits"]
    for (name, unit), value in values.items():
        assert limits[member_of(name, unit)] == (value << {"KIB": 10, "MIB": 20}.get(unit, 0)), name
    assert {"open_files", "max_pending_opens", "max_requests_in_flight", "max_asked_per_client", "max_listeners",
            "max_listeners_per_client"} <= set(limits)


def refused(client, request):
    with pytest.raises(ApiError) as caught:
        client.opened(request, 40 * SCALE)
    return caught.value.reason, caught.value.detail


def test_who_is_asked_has_a_time_to_answer(lab):
    """A listener and the policy's owner that say nothing have declined; they are told, and so is the opener."""
    alice, bob = lab.pair("--ice-request", "ask", "--accept-timeout", str(ASKED_SECONDS), "--policy-timeout",
                          str(ASKED_SECONDS), trust=False)
    asked = bob.client("asked")
    asked.call("policy.register")
    asked.call("listen.add", uri="ask", mode="ask")
    opening = alice.api.send("channel.open", peer=bob.device, uri="ask", timeout=OPENER_SECONDS)
    request = asked.wait("connection.request")[0]["request"]
    assert asked.wait("connection.request_cancelled")[0] == {"request": request, "reason": "timed-out"}
    for method in ("connection.accept", "connection.decline"):
        assert refused(asked, asked.send(method, request=request))[0] == "not-found"
    # A refused peer hears nothing.
    assert refused(alice.api, opening)[0] == "no-answer-or-refused"

    bob.allow(alice)
    opening = alice.api.send("channel.open", peer=bob.device, uri="ask")
    request = asked.wait("channel.request")[0]["request"]
    assert asked.wait("channel.request_cancelled")[0] == {"request": request, "reason": "timed-out"}
    for method in ("channel.accept", "channel.decline"):
        assert refused(asked, asked.send(method, request=request))[0] == "not-found"
    assert refused(alice.api, opening) == ("declined", "the peer's application did not answer")


def test_another_identity_and_network_are_told(lab):
    alice, bob = lab.pair()
    events = alice.client("events")
    events.call("events.subscribe")
    chain = bob.api.call("identity.sign", request=alice.api.call("identity.request")["request"])["chain"]
    alice.api.call("identity.import", pem=chain)
    ready = events.event("identity.ready", 20 * SCALE)
    assert (ready["device"], ready["account"]) == (alice.device, bob.account)
    states = [events.event("network.state", 20 * SCALE)["network"]]
    while states[-1] != "connected":
        states.append(events.event("network.state", 20 * SCALE)["network"])
    assert states[0] != "connected"
    assert alice.status()["dht"]["state"] == "connected"
