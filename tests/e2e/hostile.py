# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer that misbehaves (tests/peer/hostile_peer.cpp), and the frames that it sends, written from proto/PROTOCOL.md."""
import base64
import hashlib
import itertools
import os
import struct
import time

from harness import BUILD, SCALE, Deadline, identity, run, until
from puppet import Puppet

PEER = os.environ.get("CONND_HOSTILE_PEER") or str(BUILD / "tests/peer/hostile_peer")
BAD_IDENTITY = os.environ.get("CONND_BAD_IDENTITY") or str(BUILD / "tests/peer/bad_identity")

# Identities beyond those of the labs' nodes.
HOSTILE = 20
# The hostile peer calls: it is the TLS server, whose ids begin here.
OWN = 0x8000
# An ICE text of which nothing comes.
NO_PATH = "ufrag\n0123456789012345678901\n1 1 TCP 2130706431 10.77.0.1 9 typ host tcptype active\n"
# How much a daemon may grow while it is flooded: the bounds of PROTOCOL.md 14, and what the allocator keeps.
MAX_GROWTH = 48 << 20


# ---- frames ----


def pack(value):
    """msgpack of what control objects are made of."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for limit, code, form in ((1 << 8, 0xCC, "!B"), (1 << 16, 0xCD, "!H"), (1 << 32, 0xCE, "!I")):
            if value < limit:
                return bytes([value]) if value < 128 else bytes([code]) + struct.pack(form, value)
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xda" + struct.pack("!H", len(data))) + data
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())


def frame(channel, body=b""):
    return struct.pack("!HH", len(body), channel) + body


def control(*objects):
    return frame(0, b"".join(map(pack, objects)))


HELLO = control({"t": "hello", "v": 1, "max_channels": 65534, "max_name": 65000})


def request(name, channel, window=65536):
    return control([name, channel, False], {"t": "window", "c": channel, "n": window})


def jami(channel, body=b""):
    """A message of Jami's dialect (PROTOCOL.md 17)."""
    return b"\x92\xcd" + struct.pack("!H", channel) + b"\xc5" + struct.pack("!H", len(body)) + body


# ---- the peer ----


# What a daemon says of each kind of them.
CERTIFICATES = {
    "expired": "expired",
    "not-yet-valid": "not yet valid",
    "self-signed": "nobody but itself signed",
    "broken-chain": "not signed by the next",
    "issuer-not-ca": "not a CA",
    "wrong-usage": "usage forbids",
}


def bad_identity(kind, target):
    """A state directory with such a chain; its device id."""
    return run(BAD_IDENTITY, kind, str(target)).strip()


def device_of(lab, number):
    """The device id of a ready-made identity: SHA-256 of its key (PROTOCOL.md 2)."""
    state = lab.directory / f"look-{number}"
    if not state.exists():
        identity(number, state)
    leaf = run("openssl", "x509", "-noout", "-pubkey", "-in", str(state / "identity" / "chain.pem"))
    der = base64.b64decode("".join(leaf.splitlines()[1:-1]))
    return hashlib.sha256(der).hexdigest()


class Hostile(Puppet):
    """A running hostile_peer, in the lab's hub. `state`: its state directory; `tls_state`: whose identity it presents in TLS."""

    def __init__(self, lab, state, tls_state=None):
        super().__init__(lab, "hostile", PEER, lab.dht_address(), state, tls_state or state)
        self.expect("dht connected")

    @classmethod
    def good(cls, lab, number):
        """With a ready-made identity."""
        state = lab.directory / f"hostile-{number}-{len(lab.helpers)}"
        identity(number, state)
        return cls(lab, state)

    @classmethod
    def of_jami(cls, lab, node, number):
        """One of Jami's devices, as it looks to a node, that has called it and says nothing by itself."""
        device = device_of(lab, number)
        node.api.call("trust.allow", id=device)
        peer = cls.good(lab, number).say("jami").connect(node, time.time_ns() % (1 << 53), hello=False)
        (connection,) = until(lambda: [c for c in node.connections() if c["peer"] == device], 20 * SCALE, "connected")
        assert connection["dialect"] == "jami"
        peer.device = device
        return peer

    def jami_open(self, uri, channel):
        """A channel, accepted."""
        self.plain(jami(0, pack([uri, channel, 0]))).expect_plain(pack([uri, channel, 1]))
        self.expect("sent")

    def expect_plain(self, wanted, timeout=20 * SCALE):
        """Waits until these bytes have come, somewhere in what the daemon sent."""
        got, deadline = b"", Deadline(timeout)
        while wanted not in got:
            got += bytes.fromhex(self.expect("plain", deadline.left()))
        return got

    def knows(self, node):
        file = self.lab.directory / f"{node.name}.chain"
        file.write_text(node.api.call("identity.show")["chain"])
        self.say("peer", file).expect("known")
        return self

    def connect(self, node, number, hello=True):
        """Calls, and goes as far as TLS (and its own hello)."""
        self.knows(node).say("call", number).expect("path")
        self.say("tls").expect("up")
        if hello:
            self.plain(HELLO)
        return self

    def plain(self, data):
        return self.say("plain", data.hex())

    def answers(self):
        """That the connection still lives: a ping is answered."""
        self.plain(control({"t": "ping", "n": 77}))
        self.expect_plain(pack({"t": "pong", "n": 77}))


# Ids of requests.
numbers = itertools.count(time.time_ns() % (1 << 40))


def connected(hostile, alice, events, device, hello=True):
    hostile.connect(alice, next(numbers), hello)
    if hello:
        events.event("connection.connected", peer=device)
    return hostile


def mine(node, device):
    """How many channels with that device the node has."""
    return len([c for c in node.api.call("channel.list")["channels"] if c["peer"] == device])


def dial(client, events, device, timeout):
    """An open that found the peer's certificate: it is on the DHT a moment after the peer itself. The request's id."""

    def begun():
        opening = client.send("channel.open", peer=device, uri="x", timeout=timeout)
        state = None
        while state not in ("gathering", "failed"):
            state = events.event("connection.progress", peer=device)["state"]
        if state == "gathering":
            return opening
        assert events.event("connection.failed", peer=device)["reason"] == "not-found"
        client.message_for(opening)
        return None

    return until(begun, 40 * SCALE, "its certificate is found")
