# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer that misbehaves (tests/peer/hostile_peer.cpp), and the frames that it sends, written from proto/PROTOCOL.md."""
import os
import select
import struct
import subprocess

from harness import BUILD, LIBC, PR_SET_PDEATHSIG, SCALE, Deadline, enter, identity, run, signal

PEER = os.environ.get("CONND_HOSTILE_PEER") or str(BUILD / "tests/peer/hostile_peer")
BAD_IDENTITY = os.environ.get("CONND_BAD_IDENTITY") or str(BUILD / "tests/peer/bad_identity")


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


# ---- the peer ----


def bad_identity(kind, target):
    """A state directory with such a chain; its device id."""
    return run(BAD_IDENTITY, kind, str(target)).strip()


class Hostile:
    """A running hostile_peer, in the lab's hub. `state`: its state directory; `tls_state`: whose identity it presents in TLS."""

    def __init__(self, lab, state, tls_state=None):
        hub = lab.hub

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if hub:
                enter(hub)

        self.lab = lab
        self.log = open(lab.directory / f"hostile.{len(lab.helpers)}", "wb")
        self.popen = subprocess.Popen([PEER, lab.dht_address(), str(state), str(tls_state or state)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=self.log, preexec_fn=prepare, bufsize=0)
        lab.helpers.append(self.popen)
        self.buffer = b""
        self.lines = []
        self.expect("dht connected")

    @classmethod
    def good(cls, lab, number):
        """With a ready-made identity."""
        state = lab.directory / f"hostile-{number}-{len(lab.helpers)}"
        identity(number, state)
        return cls(lab, state)

    def say(self, *words):
        self.popen.stdin.write((" ".join(str(word) for word in words) + "\n").encode())
        return self

    def _read(self, timeout):
        assert select.select([self.popen.stdout], [], [], timeout)[0], f"nothing more: {self.lines[-5:]}"
        data = os.read(self.popen.stdout.fileno(), 1 << 20)
        assert data, "hostile_peer has ended"
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        self.lines += [line.decode() for line in lines]

    def expect(self, start, timeout=40 * SCALE):
        """Waits for a line that begins so, and takes it; what is behind that beginning."""
        deadline = Deadline(timeout)
        while True:
            for index, line in enumerate(self.lines):
                if line.startswith(start):
                    del self.lines[index]
                    return line[len(start) :].strip()
            assert not deadline.passed(), f"no '{start}': {[line[:100] for line in self.lines[-8:]]}"
            self._read(deadline.left())

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

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.log.close()


__all__ = ["HELLO", "Hostile", "bad_identity", "control", "frame", "pack", "request"]
