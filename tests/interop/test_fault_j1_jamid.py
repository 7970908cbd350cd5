# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault J1, with Debian's jamid: a sender without credit, and its beacons."""
import hashlib
import os
import time

import pytest

import harness
from harness import SCALE
from hostile import HOSTILE, Hostile, jami, numbers, pack

VERSION = jami(65535, pack({"v": 1}))
ALIVE = jami(65535, pack({"p": False}))
# After its beacon, jamid waits so long for the answer (PROTOCOL.md 17).
PATIENCE = 3


class KnownJamid:
    """What Hostile.knows() wants of a node: who jamid is."""

    def __init__(self, jamid):
        self.name = jamid.name
        self.api = self
        self.chain = (jamid.directory / "data" / "jami" / jamid.handle / "ring_device.crt").read_text()

    def call(self, _):
        return {"chain": self.chain}


@pytest.fixture
def puppet(jami_lab, shared):
    """A peer of jamid's that does what it is told, with a `sip` channel."""
    _, jamid = shared
    peer = Hostile.good(jami_lab, HOSTILE).say("jami")
    peer.connect(KnownJamid(jamid), next(numbers), hello=False)
    peer.plain(VERSION).expect("sent")
    peer.plain(jami(0, pack(["sip", 1, 0]))).expect_plain(pack(["sip", 1, 1]))
    yield peer
    peer.end()


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_fault_j1_jamid_counts_the_answers_to_its_beacons(shared, puppet, answers):
    """One lives on; without one it closes the connection 3 s later, and with one too many, too: none may be sent unasked."""
    shared[1].call("connectivityChanged")
    puppet.expect_plain(pack({"p": True}), 10 * SCALE)
    asked = time.monotonic()
    for _ in range(answers):
        puppet.plain(ALIVE).expect("sent")
    if answers == 1:
        with pytest.raises(AssertionError, match="nothing more"):
            puppet.expect("down", PATIENCE + 2)
        puppet.plain(jami(0, pack(["sip", 2, 0]))).expect_plain(pack(["sip", 2, 1]))
    else:
        puppet.expect("down", 10 * SCALE)
        assert PATIENCE - 0.5 <= time.monotonic() - asked <= PATIENCE + SCALE


PACK_BYTES = harness.sized(16 << 20, 24 << 20, 200 << 20)
RATE = 5_000_000


def fatten(jamid, conversation):
    """Commits a file to the history of a conversation, which jamid sends whole to whoever asks for it. The commit."""
    repository = jamid.directory / "data" / "jami" / jamid.handle / "conversations" / conversation
    (repository / "file").write_bytes(os.urandom(PACK_BYTES))
    who = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "safe.directory=*", "-C", str(repository))
    harness.run("git", *who, "add", "file")
    harness.run("git", *who, "commit", "-q", "--no-gpg-sign", "-m", "file")
    return harness.run("git", *who, "rev-parse", "HEAD").strip()


def packet(channel):
    size = int(channel.receive(4), 16)
    return channel.receive(size - 4) if size else None


def packets(channel):
    while (line := packet(channel)) is not None:
        yield line


def paced(channel, rate):
    """Its receive() takes no more than that a second, and pauses 2 s in the middle."""
    began, count, paused, take = time.monotonic(), 0, False, channel.receive

    def receive(size):
        nonlocal count, began, paused
        data = b""
        while len(data) < size:
            part = take(min(size - len(data), 1 << 16))
            if not part:
                return data
            data += part
            count += len(part)
            if not paused and count > PACK_BYTES // 2:
                paused, began = True, began + 2
            time.sleep(max(0, began + count / rate - time.monotonic()))
        return data

    channel.receive = receive


def test_fault_j1_a_slow_reader_gets_all_that_jamid_sends(both):
    """The history of a conversation, by git's protocol, as fast as jamid can send it."""
    alice, jamid = both
    conversation = jamid.start_conversation()
    commit = fatten(jamid, conversation)
    channel = alice.api.open(jamid.account, f"git://{jamid.device}/{conversation}")
    line = f"git-upload-pack /{conversation}\0host={jamid.device}\0".encode()
    channel.send(b"%04x" % (len(line) + 4) + line)
    assert commit.encode() in b"".join(list(packets(channel)))
    want = f"want {commit} side-band-64k\n".encode()
    channel.send(b"%04x" % (len(want) + 4) + want + b"00000009done\n")
    paced(channel, RATE)
    data = b"".join(line[1:] for line in packets(channel) if line[:1] == b"\1")
    assert len(data) > PACK_BYTES and data[:4] == b"PACK"
    assert hashlib.sha1(data[:-20]).digest() == data[-20:]
    assert not alice.api.find("channel.closed")
    channel.close()
