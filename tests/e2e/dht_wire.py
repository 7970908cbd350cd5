# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes of the DHT say to each other, said by hand: msgpack, queries and answers, and strangers who say them."""
import contextlib
import os
import socket
import struct
import threading

from harness import SCALE, Deadline, inside

PART = 1200  # bytes of a value in one datagram; OpenDHT sends about as many


# ---- msgpack: as much of it as nodes use ----


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if value < 0:
            return struct.pack(">Bq", 0xD3, value)
        if value < 0x80:
            return bytes([value])
        for code, form, end in ((0xCC, ">BB", 1 << 8), (0xCD, ">BH", 1 << 16), (0xCE, ">BI", 1 << 32), (0xCF, ">BQ", 1 << 64)):
            if value < end:
                return struct.pack(form, code, value)
    if isinstance(value, (bytes, bytearray)):
        return _head(len(value), None, ((0xC4, ">BB", 1 << 8), (0xC5, ">BH", 1 << 16), (0xC6, ">BI", 1 << 32))) + bytes(value)
    if isinstance(value, str):
        data = value.encode()
        return _head(len(data), (0xA0, 32), ((0xD9, ">BB", 1 << 8), (0xDA, ">BH", 1 << 16))) + data
    if isinstance(value, (list, tuple)):
        return _head(len(value), (0x90, 16), ((0xDC, ">BH", 1 << 16), (0xDD, ">BI", 1 << 32))) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return _head(len(value), (0x80, 16), ((0xDE, ">BH", 1 << 16), (0xDF, ">BI", 1 << 32))) + b"".join(
            pack(key) + pack(inner) for key, inner in value.items())
    raise TypeError(type(value))


def _head(size, short, longer):
    if short and size < short[1]:
        return bytes([short[0] | size])
    return next(struct.pack(form, code, size) for code, form, end in longer if size < end)


def unpack(data):
    value, at = _unpack(data, 0)
    assert at == len(data), "bytes behind the object"
    return value


NUMBERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q", 0xCA: ">f", 0xCB: ">d"}
RUNS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}


def _unpack(data, at):
    code, at = data[at], at + 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 0x100), at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in NUMBERS:
        size = struct.calcsize(NUMBERS[code])
        return struct.unpack_from(NUMBERS[code], data, at)[0], at + size
    if code in RUNS:
        size = struct.unpack_from(RUNS[code], data, at)[0]
        at += struct.calcsize(RUNS[code])
    else:
        size = code & (0x1F if 0xA0 <= code < 0xC0 else 0x0F)
    if 0xC4 <= code <= 0xC6:
        return bytes(data[at:at + size]), at + size
    if 0xA0 <= code < 0xC0 or 0xD9 <= code <= 0xDB:
        return data[at:at + size].decode(errors="replace"), at + size
    if 0x80 <= code < 0x90 or code >= 0xDE:
        out = {}
        for _ in range(size):
            key, at = _unpack(data, at)
            out[key], at = _unpack(data, at)
        return out, at
    out = []
    for _ in range(size):
        item, at = _unpack(data, at)
        out.append(item)
    return out, at


# ---- messages ----


def query(what, arguments, transaction, agent="RNG1"):
    return pack({"a": arguments, "q": what, "t": transaction, "v": agent, "y": "q"})


def value(number, data, kind=0):
    """A value that nobody has signed, as it is on the wire."""
    return pack({"id": number, "dat": {"body": {"type": kind, "data": data}}})


def parts(packed, transaction, index=0, size=PART):
    """The datagrams of a value that is too long for one."""
    return [pack({"p": {index: {"o": at, "d": packed[at:at + size]}}, "t": transaction, "v": "RNG1"}) for at in range(0, len(packed), size)]


class Stranger:
    """A node that says what it is told to, at an address of its own. `namespace`: where, if not here."""

    def __init__(self, target, namespace=None, node_id=None, port=0):
        self.target = target
        self.id = node_id or os.urandom(20)
        self.number = int.from_bytes(os.urandom(2), "big") + 1
        self.sent = self.got = 0
        self.sock = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind(("", port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sent += len(data)
        self.sock.sendto(data, self.target)

    def next(self):
        self.number += 1
        return self.number

    def receive(self, timeout):
        """The next message, or None. A node's pings are answered, and not told."""
        deadline = Deadline(timeout)
        while not deadline.passed():
            self.sock.settimeout(max(0.001, deadline.left()))
            try:
                data, _ = self.sock.recvfrom(1 << 16)
            except TimeoutError:
                return None
            self.got += len(data)
            message = unpack(data)
            if message.get("y") == "q" and message.get("q") == "ping":
                self.send(pack({"r": {"id": self.id, "sa": b"\x7f\0\0\1"}, "t": message["t"], "v": "RNG1", "y": "r"}))
                continue
            return message
        return None

    def ask(self, what, arguments, timeout=10):
        """The answer: its `r` or `e`, or None when there is none in time. Asks again each second, as nodes do."""
        number = self.next()
        deadline = Deadline(timeout)
        while not deadline.passed():
            self.send(query(what, {"id": self.id, **arguments}, number))
            again = Deadline(1)
            while not again.passed():
                message = self.receive(again.left())
                if message and message.get("t") == number and ("r" in message or "e" in message):
                    return message
        return None

    def token(self, key):
        return self.ask("get", {"h": key})["r"]["token"]

    def put(self, key, token, packed, timeout=10):
        """Puts a value of any length; the answer, or None."""
        if len(packed) < 512:
            number = self.next()
            self.send(pack({"a": {"id": self.id, "h": key, "values": [unpack(packed)], "token": token}, "q": "put", "t": number, "v": "RNG1", "y": "q"}))
        else:
            number = self.next()
            self.send(query("put", {"id": self.id, "h": key, "values": [len(packed)], "token": token}, number))
            for part in parts(packed, number):
                self.send(part)
        deadline = Deadline(timeout)
        while not deadline.passed():
            message = self.receive(deadline.left())
            if message and message.get("t") == number:
                return message
        return None


def forged(source, target, data):
    """A datagram with somebody else's source, as it goes out of a raw socket."""
    (source_ip, source_port), (target_ip, target_port) = source, target
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 0, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton(source_ip), socket.inet_aton(target_ip))
    return header + struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0) + data  # without a checksum: legal in IPv4


class Sniffer:
    """All UDP payloads that an interface of a namespace sees, as (source, destination, payload), while the block lasts."""

    ETH_P_IP = 0x0800

    def __init__(self, namespace, interface, wanted=lambda source, target: True):
        self.seen = []
        self.wanted = wanted
        self.sock = inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ETH_P_IP)))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.sock.bind((interface, self.ETH_P_IP))
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.waker.close()
        self.thread.join(60 * SCALE)
        with contextlib.suppress(OSError):
            self.sock.close()

    def _run(self):
        import select

        fragments = {}
        while self.wake not in select.select([self.sock, self.wake], [], [])[0]:
            self._take(self.sock.recv(1 << 16)[14:], fragments)

    def _take(self, packet, fragments):
        if len(packet) < 28 or packet[9] != socket.IPPROTO_UDP:
            return
        length, ident, place = struct.unpack_from(">HHH", packet, 2)
        start = (packet[0] & 0xF) * 4
        payload = packet[start:length]
        if place & 0x3FFF:  # a part of a long datagram; they come in order here
            name = (packet[12:20], ident)
            kept = fragments.setdefault(name, bytearray())
            kept += payload
            if place & 0x2000:
                return
            payload = bytes(fragments.pop(name))
        source_port, target_port = struct.unpack_from(">HH", payload)
        source = (socket.inet_ntoa(packet[12:16]), source_port)
        target = (socket.inet_ntoa(packet[16:20]), target_port)
        if self.wanted(source, target):
            self.seen.append((source, target, payload[8:]))
