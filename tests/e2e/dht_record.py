# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one datagram of each shape that nodes of the DHT say in a laboratory: the corpus of tests/fuzz/corpus/dht_walker.

CONND_E2E_RECORD=DIR makes each laboratory with namespaces do so (harness.py): run the e2e and interop tests, and take from
DIR what is not in the corpus yet. Nothing is taken of tests that send junk."""
import hashlib
import pathlib
import socket
import struct

from dht_wire import Sniffer, unpack

PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 1, 1  # linux/if_packet.h
SOL_PACKET = 263
MAX_OF_KIND = 12  # shapes of one kind: lengths and orders make many more


def shape(item, depth=0):
    """What a message is made of, without what it says."""
    if isinstance(item, dict):
        return "{" + ",".join(f"{key if isinstance(key, str) else '#'}:{shape(inner, depth + 1)}" for key, inner in item.items()) + "}"
    if isinstance(item, list):
        return f"[{min(len(item), 3)}:{','.join(sorted({shape(inner, depth + 1) for inner in item}))}]"
    if isinstance(item, bytes):
        return f"b{len(item) if len(item) in (4, 16, 20) else len(item).bit_length() // 3}"
    return type(item).__name__[0]


def kind(message):
    """The name of its kind: query-get, reply-values, part, error."""
    for key, name in (("e", "error"), ("r", "reply"), ("p", "part"), ("u", "update")):
        if key in message:
            inner = message[key] if isinstance(message[key], dict) else {}
            known = [member for member in ("values", "fileds", "n4", "n6", "token", "exp", "re") if member in inner]
            return "-".join([name, *known])
    return f"query-{message.get('q')}" + ("-values" if "values" in message.get("a", {}) else "")


class Recorder(Sniffer):
    """All that passes a bridge, whoever it is for."""

    def __init__(self, namespace, interface, directory):
        super().__init__(namespace, interface)
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.shapes, self.count = set(), {}
        index = self.sock.getsockname()
        request = struct.pack("iHH8s", _index(namespace, index[0]), PACKET_MR_PROMISC, 0, b"")
        self.sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)

    def _take(self, packet, fragments):
        super()._take(packet, fragments)
        while self.seen:
            self._keep(self.seen.pop()[2])

    def _keep(self, payload):
        try:
            message = unpack(payload)
        except Exception:  # not the DHT: STUN, peer discovery
            return
        if not isinstance(message, dict) or "t" not in message:
            return
        name, form = kind(message), shape(message)
        if form in self.shapes or self.count.get(name, 0) >= MAX_OF_KIND:
            return
        self.shapes.add(form)
        self.count[name] = self.count.get(name, 0) + 1
        (self.directory / f"{name}-{hashlib.sha256(form.encode()).hexdigest()[:8]}").write_bytes(payload)


def _index(namespace, interface):
    from harness import inside

    return inside(namespace, lambda: socket.if_nametoindex(interface))
