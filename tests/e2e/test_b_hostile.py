# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS B10, B11 and B13 with a peer whose bytes we write ourselves."""
import struct

import pytest
from hostile import OWN, connected, control, frame, mine, pack, request
from traffic import Talker

RESET = {"t": "reset", "c": OWN, "code": 13, "text": ""}
WINDOW = 1 << 20  # more than the old channel's app has to say


def test_b13_reset_and_asked_again_in_one_write(attacked):
    """The listener of the old channel writes as soon as it has it, and none of that reaches the new one on its id."""
    alice, hostile, device, events = attacked
    with Talker(alice, "talk", peers="any") as talker:
        connected(hostile, alice, events, device)
        for number in range(20):
            again = OWN + number
            reset = RESET | {"c": again}
            hostile.plain(request("talk", again, WINDOW) + control(reset) + request("echo", again, WINDOW)
                          + control({"t": "ping", "n": number}))
            came = hostile.expect_plain(pack({"t": "pong", "n": number}))
            came += hostile.expect_plain(pack(["echo", again, True])) if pack(["echo", again, True]) not in came else b""
            hostile.plain(frame(again, b"new"))
            came += hostile.expect_plain(frame(again, b"new"))
            resets = came.count(pack(reset)[:-6])
            assert resets == 1 and came.count(pack(["echo", again, True])) == 1, came
            behind = came[came.index(pack(["echo", again, True])) :]
            assert b"tttt" not in behind
        assert mine(alice, device) == 20
        assert set(talker.uris) <= {"talk"}


def refusal(channel, code=15):
    """What a `refuse` of this id begins with."""
    return pack({"t": "refuse", "c": channel, "code": code})[1:]


REFUSED = {"zero": 0, "reserved": 0xFFFF, "beyond": 0x10000}


@pytest.mark.parametrize("what", REFUSED)
def test_b11_ids_that_are_reserved_are_refused_and_harm_nothing(attacked, what):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    hostile.plain(request("echo", REFUSED[what]) * 50)
    hostile.expect_plain(refusal(REFUSED[what]))
    hostile.answers()
    assert mine(alice, device) == 0
    assert len(violations(alice, device)) == 1


def violations(node, device):
    """What the log says of a peer's requests for ids that it may not have, on its connection."""
    connection = next(c["connection"] for c in node.api.call("connection.list")["connections"] if c["peer"] == device)
    return [line for line in node.process.log().splitlines()
            if f"connection={connection} peer={device[:12]} broke the protocol" in line]


def test_b11_ids_that_are_open_or_of_the_other_half(attacked):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    hostile.plain(request("echo", OWN))
    hostile.expect_plain(pack(["echo", OWN, True]))
    # Open: refused, and the channel goes on.
    hostile.plain(request("echo", OWN))
    hostile.expect_plain(refusal(OWN))
    hostile.plain(frame(OWN, b"still open"))
    hostile.expect_plain(frame(OWN, b"still open"))
    # Of the receiver's own half: answered by nothing. The pong comes behind where an answer would have been.
    hostile.plain(request("echo", 1) + control({"t": "ping", "n": 5}))
    came = hostile.expect_plain(pack({"t": "pong", "n": 5}))
    assert pack(["echo", 1, True]) not in came and refusal(1) not in came
    assert mine(alice, device) == 1
    assert len(violations(alice, device)) == 1  # of both


NAMES = {"not UTF-8": b"echo \xff\xfe", "half a surrogate pair": b"echo \xed\xa0\x80", "too long": b"e" * 65_001}
BAD_NAME = 18


@pytest.mark.parametrize("what", NAMES)
def test_b10_names_that_are_not_legal_from_a_peer(attacked, what):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    name = b"\xda" + struct.pack("!H", len(NAMES[what])) + NAMES[what]
    hostile.plain(frame(0, b"\x93" + name + pack(OWN) + pack(False)))
    hostile.expect_plain(refusal(OWN, BAD_NAME))
    # No harm: the connection lives, and the id is free.
    hostile.answers()
    hostile.plain(request("echo", OWN))
    hostile.expect_plain(pack(["echo", OWN, True]))
    assert mine(alice, device) == 1
