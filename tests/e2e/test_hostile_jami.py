# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon makes of a peer that looks like one of Jami's and says what none of them does (PROTOCOL.md 17)."""
import pytest
from harness import SCALE
from hostile import HOSTILE, Hostile, jami, pack
from traffic import Echo, subscribed

PROTOCOL = 65535
REQUEST = 0

# What ends the connection.
FATAL = {
    "no array": b"\x81\xa1v\x01",
    "an array of three": b"\x93\x07\xc4\x01a\xc0",
    "a channel that is text": b"\x92\xa1a\xc4\x01a",
    "a body that is text": b"\x92\x07\xa1a",
    "a body longer than 65,535 bytes": b"\x92\x07\xc6\x00\x01\x00\x00" + bytes(65_536),
    "a channel beyond 65,535": b"\x92\xce\x00\x01\x00\x00\xc4\x01a",
    "a negative channel": b"\x92\xff\xc4\x01a",
    "half an object in a control message": jami(PROTOCOL, b"\x81\xa1"),
    "a number in a control message": jami(0, b"\x07"),
    "a name that is a number": jami(0, pack([7, 7, REQUEST])),
    "an id that is text": jami(0, pack(["echo", "7", REQUEST])),
}
# What is passed over.
IGNORED = {
    "data for an id that is not open": jami(77, b"lost"),
    "EOF for an id that is not open": jami(77),
    "an answer that nobody asked for": jami(0, pack(["echo", 77, 1])),
    "a state that there is not": jami(0, pack(["echo", 77, 9])),
    "a map with other keys": jami(PROTOCOL, pack({"foo": 1})),
    "a second version": jami(PROTOCOL, pack({"v": 1})) * 2,
    "a request for the open id": jami(0, pack(["other", 7, REQUEST])),
    "a request for a reserved id": jami(0, pack(["other", PROTOCOL, REQUEST])),
    "the other forms of a head": b"\xdc\x00\x02\x4d\xc4\x01a",
}


@pytest.fixture(scope="module")
def alice(shared_lab):
    return shared_lab.node("alice").start()


@pytest.fixture
def peer(shared_lab, alice):
    """With channel 7 to an echo."""
    alice.close_all()
    with Echo(alice):
        made = Hostile.of_jami(shared_lab, alice, HOSTILE)
        made.jami_open("echo", 7)
        yield made
    made.end()
    alice.api.call("connection.close", peer=made.device)
    alice.check_log()


@pytest.mark.parametrize("what", FATAL)
def test_what_is_no_message_ends_the_connection(alice, peer, what):
    events = subscribed(alice)
    peer.plain(FATAL[what])
    closed = events.event("connection.closed", 20 * SCALE, peer=peer.device)
    assert closed["reason"] == "protocol-error", closed


@pytest.mark.parametrize("what", IGNORED)
def test_what_means_nothing_is_passed_over(alice, peer, what):
    peer.plain(IGNORED[what])
    peer.plain(jami(7, b"still here")).expect_plain(jami(7, b"still here"))
    channels = [c for c in alice.api.call("channel.list")["channels"] if c["peer"] == peer.device]
    assert [c["uri"] for c in channels] == ["echo"]
