# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G1: each error that ipc/PROTOCOL.md states for a method is given by a real daemon, and pinned by a test."""
import pathlib
import re

import pytest
from harness import ROOT, SCALE, ApiError
from hostile import connected, control, pack

INVALID_PARAMS = -32602
HANDLE = 123_456_789
NOBODY = "nobody"  # an alias that nobody has

# What needs no more than a call: method, params, reason.
CALLS = [
    ("channel.cancel", {"id": 424242}, "not-found"),
    ("channel.finish", {"channel": HANDLE}, "not-found"),
    ("channel.close", {"channel": HANDLE}, "not-found"),
    ("channel.accept", {"request": HANDLE}, "not-found"),
    ("channel.decline", {"request": HANDLE}, "not-found"),
    ("listen.add", {"uri": "x", "peers": [NOBODY]}, "not-found"),
    ("listen.remove", {"listener": HANDLE}, "not-found"),
    ("connection.accept", {"request": HANDLE}, "not-found"),
    ("connection.decline", {"request": HANDLE}, "not-found"),
    ("connection.close", {"peer": NOBODY}, "not-found"),
    ("trust.allow", {"id": NOBODY}, "not-found"),
    ("trust.ban", {"id": NOBODY}, "not-found"),
    ("trust.unset", {"id": NOBODY}, "not-found"),
    ("alias.remove", {"name": NOBODY}, "not-found"),
    ("crl.add", {"pem": "no list"}, "bad-certificate"),
    ("crl.remove", {"crl": "ab" * 32}, "not-found"),
    ("identity.sign", {"request": "no request"}, "bad-certificate"),
    ("identity.import", {"pem": "no chain"}, "bad-certificate"),
    ("identity.revoke", {"device": NOBODY}, "not-found"),
    ("identity.revoke", {"device": "5a" * 32, "chain": "no chain"}, "bad-certificate"),
]

# What a peer may say to an open, in its own words; the daemon hands it on. Some of these have another cause, too.
REFUSALS = ["ice-failed", "no-listener", "busy", "banned", "bad-certificate", "protocol-error", "bad-name", "duplicate", "stalled",
            "reset"]
REFUSED = "test_g1_the_peers_reason_is_the_openers"

# All others, and the test that pins each: of e2e/ by its function, of daemon/ by its title.
PINNED = {
    ("channel.attach", "not-found"): "test_fault_c9_a_token_is_good_once_and_for_a_fresh_connection",
    ("channel.attach", "invalid-argument"): "test_fault_c9_a_token_is_good_once_and_for_a_fresh_connection",
    ("channel.open", "not-found"): "test_a6_peer_does_not_exist_and_then_it_does",
    ("channel.open", "no-network"): "test_dht_bootstrap_dies_and_comes_back",
    ("channel.open", "no-answer-or-refused"): "test_a6_peer_is_offline",
    ("channel.open", "declined"): "test_b3_one_declined_another_accepted",
    ("channel.open", "timed-out"): "test_b9_listener_takes_its_time",
    ("channel.open", "connection-lost"): "test_g1_an_opens_connection_dies_twice",
    ("channel.open", "cancelled"): "test_b13_cancelled_and_asked_again_at_once",
    ("channel.open", "not-ready"): "a client is answered before there is an identity",
    ("trust.allow", "invalid-argument"): "fault B1: a ban of a connected device's short id names it, ends its connection, and keeps it out",
    ("trust.ban", "invalid-argument"): "fault B1: a ban that could do nothing is an error",
    ("listen.add", "busy"): "test_g5_listeners",
    ("policy.register", "busy"): "test_policy_ask",
    ("identity.sign", "not-found"): "test_g1_without_the_accounts_key",
    ("trust.allow", "invalid-argument"): "fault B1: a ban of a connected device's short id names it, ends its connection, and keeps it out",
    ("trust.ban", "invalid-argument"): "fault B1: a ban that could do nothing is an error",
    ("identity.revoke", "invalid-argument"): "test_g1_without_the_accounts_key",
    ("identity.export_account", "not-found"): "test_g1_without_the_accounts_key",
    ("identity.forget_account_key", "not-found"): "test_g1_without_the_accounts_key",
} | {(f"identity.{method}", "not-ready"): "a client is answered before there is an identity"
     for method in ("show", "request", "sign", "revoke", "import", "export_account", "forget_account_key")}


def documented():
    """(method, reason) for each reason behind an "Errors:" of section 7."""
    text = (ROOT / "ipc" / "PROTOCOL.md").read_text(encoding="utf-8")
    methods = text[text.index("## 7. Methods"):text.index("## 8. Notifications")]
    out = set()
    for section in methods.split("\n### ")[1:]:
        name, body = section.split("\n", 1)
        for errors in re.findall(r"Errors:((?:[^.(]|\([^)]*\))*)\.", body):
            out |= {(name, reason) for reason in re.findall(r"`([a-z-]+)`", re.sub(r"\([^)]*\)", "", errors))}
    return out


def bodies():
    """The text of each test, by its name or title."""
    out = {}
    for directory, pattern, head in (("e2e", "test_*.py", r"^def (test_\w+)"), ("daemon", "*_test.cpp", r'^TEST_CASE\("([^"]*)"')):
        for path in pathlib.Path(ROOT / "tests" / directory).glob(pattern):
            _, *parts = re.split(head, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            out |= dict(zip(parts[::2], parts[1::2]))
    return out


@pytest.mark.skipif(not (ROOT / "tests" / "daemon").is_dir(), reason="needs the whole source tree")
def test_g1_each_documented_error_has_its_test():
    stated = documented()
    assert len(stated) > 40, "the document is not read as it is written"
    called = {(method, reason) for method, _, reason in CALLS}
    refused = {("channel.open", reason) for reason in REFUSALS}
    assert stated - called - refused - set(PINNED) == set(), "without a test"
    assert (called | refused | set(PINNED)) - stated == set(), "not documented"
    tests = bodies()
    assert REFUSED in tests
    for (method, reason), test in PINNED.items():
        constant = "k" + "".join(word.title() for word in reason.split("-"))
        assert test in tests, test
        assert f'"{reason}"' in tests[test] or constant in tests[test], (method, reason, test)


def error_of(call, *arguments, **options):
    with pytest.raises(ApiError) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_g1_calls_that_fail(nodes, number):  # noqa: F811
    method, params, reason = CALLS[number]
    assert error_of(nodes[0].api.call, method, **params).reason == reason


def opened_id(hostile, name):
    """The id that the daemon gave to a channel of this name: what stands behind the name in its request."""
    wanted, got = pack(name), b""
    while wanted not in got[:-3]:
        got += bytes.fromhex(hostile.expect("plain", 20 * SCALE))
    rest = got[got.index(wanted) + len(wanted):]
    sizes = {0xCC: 1, 0xCD: 2}
    return int.from_bytes(rest[1:1 + sizes[rest[0]]], "big") if rest[0] in sizes else rest[0]


def test_g1_the_peers_reason_is_the_openers(attacked):  # noqa: F811
    alice, hostile, device, events = attacked
    codes = {reason: -32000 - error["code"] for reason, error in
             alice.api.call("rpc.discover")["components"]["errors"].items()}
    connected(hostile, alice, events, device)
    for reason in REFUSALS:
        opening = alice.api.send("channel.open", peer=device, uri=f"for {reason}")
        number = opened_id(hostile, f"for {reason}")
        hostile.plain(control({"t": "refuse", "c": number, "code": codes[reason], "text": "in its words"}))
        failed = error_of(alice.api.reply, opening)
        assert (failed.reason, failed.detail, failed.data["peer"]) == (reason, "in its words", device)


def test_g1_an_opens_connection_dies_twice(nodes):  # noqa: F811
    """Once it is dialled again; then the opener hears it."""
    alice, bob = nodes
    asked = bob.client("asked")
    asked.call("listen.add", uri="twice", mode="ask")
    opening = alice.api.send("channel.open", peer=bob.device, uri="twice")
    before = alice.status()["metrics"]["opens_redialled"]
    for _ in range(2):
        asked.wait("channel.request")
        bob.api.call("connection.close", peer=alice.device)
    assert error_of(alice.api.reply, opening).reason == "connection-lost"
    assert alice.status()["metrics"]["opens_redialled"] == before + 1


def test_g1_without_the_accounts_key(nodes, lab):  # noqa: F811
    alice, _ = nodes
    carol = lab.node("carol").start()
    exported = carol.api.call("identity.export_account", passphrase="correct horse")["account"]
    wrong = error_of(carol.api.call, "identity.import", pem=exported, passphrase="wrong horse")
    assert (wrong.code, wrong.reason) == (INVALID_PARAMS, "invalid-argument")
    assert error_of(carol.api.call, "identity.export_account", passphrase="short").code == INVALID_PARAMS
    assert error_of(carol.api.call, "identity.revoke", device=carol.device).reason == "invalid-argument"
    carol.api.call("identity.forget_account_key")
    request = alice.api.call("identity.request")["request"]
    for method, params in (("sign", {"request": request}), ("export_account", {"passphrase": "correct horse"}),
                           ("revoke", {"device": alice.device}), ("forget_account_key", {})):
        assert error_of(carol.api.call, f"identity.{method}", **params).reason == "not-found"
    carol.api.call("identity.import", pem=exported, passphrase="correct horse")
    assert carol.api.call("identity.sign", request=request)["chain"]
