# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes under TLS once a connection is up: each kind of it has its outcome (PROTOCOL.md 6 and 7)."""
import struct

import pytest
from api_client import ApiError
from harness import SCALE
from hostile import connected, numbers

MAGIC_COOKIE = bytes.fromhex("2112a442")  # RFC 8489 5


def stun(kind, attributes=b"", length=None):
    return struct.pack("!HH", kind, len(attributes) if length is None else length) + MAGIC_COOKIE + bytes(12) + attributes


# What it says, and how it ends the connection.
ENDS = {
    "a record that nobody encrypted": (bytes.fromhex("17 0303 0020") + bytes(32), "protocol-error", "TLS failed"),
    "a record that is too short for its tag": (bytes.fromhex("17 0303 0001 00"), "protocol-error", "TLS failed"),
    "a record longer than there are": (bytes.fromhex("17 0303 ffff") + bytes(64), "protocol-error", "TLS failed"),
    "an alert in the clear": (bytes.fromhex("15 0303 0002 0228"), "protocol-error", "TLS failed"),
    "a handshake in the clear": (bytes.fromhex("16 0303 0004 00000000"), "protocol-error", "TLS failed"),
    "no TLS at all": (b"GET / HTTP/1.1\r\n\r\n", "protocol-error", "TLS failed"),
    "a STUN message longer than any": (stun(1, bytes(4_000)), "protocol-error", "STUN"),
}
LIVES = {
    "an empty frame": b"",
    "a check without credentials": stun(0x0001),
    "a check whose length lies": stun(0x0001, bytes(8), 400),
    "a check with a wrong integrity": stun(0x0001, bytes.fromhex("0006 0003 613a6200 0008 0014") + bytes(20)),
    "an answer that nobody waits for": stun(0x0101),
    "an error that nobody waits for": stun(0x0111),
    "an indication": stun(0x0011),
    "half a STUN header": stun(0x0001)[:12],
    "a second hand-over": b"JCH\x01",
}


def test_garbage_under_tls_that_ends_the_connection(attacked):
    alice, hostile, device, events = attacked
    for what, (sent, reason, detail) in ENDS.items():
        connected(hostile, alice, events, device)
        hostile.say("raw", sent.hex())
        closed = events.event("connection.closed", 20 * SCALE, peer=device)
        assert closed["reason"] == reason and detail in closed["detail"], (what, closed)
        hostile.expect("down")
        assert not [c for c in alice.connections() if c["peer"] == device], what


def test_frames_under_tls_that_harm_nothing(attacked):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    for what, sent in LIVES.items():
        hostile.say("raw", sent.hex())
        hostile.answers()
        events.sync()
        assert not events.taken("event", type="connection.closed", peer=device), what


@pytest.mark.parametrize("dialled", [False, True])
def test_both_sent_jc_and_tls_does_not_name_the_protocol(attacked, dialled):
    """No downgrade: the connection does not come up, in no dialect (PROTOCOL.md 7)."""
    alice, hostile, device, events = attacked
    hostile.knows(alice).say("no-alpn")
    if dialled:
        hostile.say("answer").expect("answering")
        opening = alice.api.send("channel.open", peer=device, uri="x", timeout=40 * SCALE)
    else:
        hostile.say("call", next(numbers))
    hostile.expect("path")
    hostile.say("tls")
    failed = events.event("connection.failed", 20 * SCALE, peer=device)
    assert failed["reason"] == "protocol-error" and "TLS did not agree on its protocol" in failed["detail"], failed
    hostile.expect("down")
    if dialled:
        alice.api.call("channel.cancel", id=opening)
        with pytest.raises(ApiError) as cancelled:
            alice.api.reply(opening)
        assert cancelled.value.reason == "cancelled"
    events.sync()
    assert not events.taken("event", type="connection.connected", peer=device)
