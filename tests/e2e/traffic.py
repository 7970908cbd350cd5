# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the tests that use channels, each in a thread with a control connection of its own, and a counter of TLS
records on the wire."""
import hashlib
import os
import select
import selectors
import socket
import struct
import threading

from api_client import Channel, Client
from harness import SCALE, Deadline, inside

CHUNK = 1 << 18
# What an echo keeps of one channel that does not read its own bytes.
ECHO_BUFFER = 1 << 20
ETH_P_IP = 0x0800  # linux/if_ether.h
ETHERNET_HEADER = 14
TLS_APPLICATION_DATA = 23  # RFC 8446 5.1
TLS_HEADER = 5


class Service(threading.Thread):
    """Listens, and gives each channel to `serve` until stopped. Use as a context manager: an error inside fails the test."""

    def __init__(self, node, uri, prefix=True, **listen):
        super().__init__(daemon=True)
        self.client = Client(node.socket_path, type(self).__name__)
        self.listener = self.client.call("listen.add", uri=uri, prefix=prefix, **listen)["listener"]
        self.wake, self.waker = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.error = None
        self.uris = []
        self.ends = {}
        self.channels = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.waker.close()
        self.join(60 * SCALE)
        if kind is None and self.error:
            raise self.error

    def run(self):
        try:
            self.selector.register(self.wake, selectors.EVENT_READ, None)
            self.selector.register(self.client.sock, selectors.EVENT_READ, None)
            while self._turn():
                pass
        except Exception as error:  # shown by the main thread
            self.error = error
        finally:
            for channel in list(self.channels.values()):
                channel.close()
            self._leave()
            self.wake.close()

    def _leave(self):
        """Gives the name back before the thread ends: the next test may want it."""
        try:
            if not self.client.gone:
                self.client.call("listen.remove", timeout_s=20, listener=self.listener)
        except ConnectionError:
            pass  # the daemon is gone, and the listener with it
        self.client.close()

    def _turn(self):
        for key, mask in self.selector.select():
            if key.fileobj is self.wake:
                return False
            if key.fileobj is self.client.sock:
                self._control()
            else:
                self.serve(key.data, mask)
        return not self.client.gone

    def _control(self):
        self.client.pump(0)
        while found := self.client.find("channel.opened"):
            channel = Channel(self.client, *found)
            self.uris.append(channel.uri)
            self.channels[channel.handle] = channel
            channel.sock.setblocking(False)
            self.selector.register(channel.sock, selectors.EVENT_READ, channel)
            self.opened(channel)
        while found := self.client.find("channel.closed"):
            assert found[0]["channel"] not in self.ends, "reported twice"
            self.ends[found[0]["channel"]] = found[0]["reason"]

    def drop(self, channel):
        self.selector.unregister(channel.sock)
        del self.channels[channel.handle]
        channel.close()

    def opened(self, channel):
        """A channel has come."""

    def serve(self, channel, mask):
        raise NotImplementedError


class Echo(Service):
    """Sends back what comes, and ends when the peer has."""

    def __init__(self, node, uri="echo", **listen):
        super().__init__(node, uri, **listen)
        self.kept = {}

    def opened(self, channel):
        self.kept[channel.handle] = [bytearray(), False]

    def serve(self, channel, mask):
        kept, ended = self.kept[channel.handle]
        try:
            if mask & selectors.EVENT_READ:
                data = channel.sock.recv(CHUNK)
                kept += data
                ended = self.kept[channel.handle][1] = ended or not data
            if kept:
                del kept[: channel.sock.send(kept)]
        except BlockingIOError:
            pass
        except OSError:  # a reset: channel.closed tells
            return self.drop(channel)
        if ended and not kept:
            channel.shut()
            return self.drop(channel)
        wanted = (0 if ended or len(kept) > ECHO_BUFFER else selectors.EVENT_READ) | (selectors.EVENT_WRITE if kept else 0)
        self.selector.modify(channel.sock, wanted, channel)


class Talker(Echo):
    """Writes as soon as a channel is there."""

    def opened(self, channel):
        super().opened(channel)
        try:
            channel.sock.send(b"t" * 65_536)
        except OSError:
            pass  # full, or gone already


class Sink(Service):
    """Takes everything: sums of what came, by uri, and a count."""

    def __init__(self, node, uri="sink", **listen):
        super().__init__(node, uri, **listen)
        self.sums = {}
        self.counts = {}
        self.complete = {}
        self.handles = {}

    def opened(self, channel):
        self.handles[channel.uri] = channel.handle
        self.sums[channel.uri] = hashlib.sha256()
        self.counts[channel.uri] = 0
        self.complete[channel.uri] = threading.Event()

    def serve(self, channel, mask):
        try:
            data = channel.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            return self.drop(channel)
        if data:
            self.sums[channel.uri].update(data)
            self.counts[channel.uri] += len(data)
            return
        channel.shut()
        self.complete[channel.uri].set()
        self.drop(channel)


class Sender(threading.Thread):
    """Writes `total` random bytes (None: until it fails) into a channel; `digest` is their sum."""

    def __init__(self, channel, total):
        super().__init__(daemon=True)
        self.channel, self.total, self.sent, self.error = channel, total, 0, None
        self.block = os.urandom(CHUNK)
        self.hash = hashlib.sha256()

    def run(self):
        try:
            while self.total is None or self.sent < self.total:
                part = self.block if self.total is None else self.block[: self.total - self.sent]
                self.channel.sock.sendall(part)
                self.hash.update(part)
                self.sent += len(part)
        except OSError as error:
            self.error = error

    @property
    def digest(self):
        return self.hash.hexdigest()


class Reader(threading.Thread):
    """Reads a channel to its end: `count` bytes, then `ending`, "eof" or "reset"; None when there is no end in time."""

    def __init__(self, channel):
        super().__init__(daemon=True)
        self.sock, self.count, self.ending = channel.sock, 0, None
        self.start()

    def run(self):
        try:
            while part := self.sock.recv(CHUNK):
                self.count += len(part)
            self.ending = "eof"
        except ConnectionResetError:
            self.ending = "reset"
        except TimeoutError:
            pass

    def wait_end(self, timeout):
        self.join(timeout)
        assert self.ending, f"no end in {timeout} s, after {self.count} bytes"
        return self.ending


def fill(sock, quiet):
    """Writes until nothing has been taken for `quiet` seconds: how much was, and its sum."""
    block, total, digest = os.urandom(1 << 16), 0, hashlib.sha256()
    sock.setblocking(False)
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    while poller.poll(quiet * 1000):
        try:
            taken = sock.send(block)
        except BlockingIOError:
            continue
        digest.update(block[:taken])
        total += taken
    sock.setblocking(True)
    return total, digest


def fill_all(channels, quiet):
    """The same with many at once: the bytes that were taken of all."""
    block, total = os.urandom(1 << 16), 0
    poller, socks = select.poll(), {channel.sock.fileno(): channel.sock for channel in channels}
    for fd in socks:
        poller.register(fd, select.POLLOUT)
    while ready := poller.poll(quiet * 1000):
        for fd, _ in ready:
            try:
                total += socks[fd].send(block, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
    return total


def joined(alice, bob, uri):
    """A channel, both ends."""
    bob.api.call("listen.add", uri=uri, strict_end=True)
    here = alice.api.open(bob.device, uri)
    return here, bob.api.incoming(uri=uri)


def subscribed(node):
    client = node.client("events")
    client.call("events.subscribe")
    return client


def round_trip(channel, data):
    """Sends and gets back; for data that fits the buffers on the way."""
    channel.send(data)
    return channel.receive(len(data))


# ---- records on the wire ----


class Stream:
    """One direction of a connection: takes TCP payload in order, finds RFC 4571 frames and in them TLS records."""

    def __init__(self):
        self.next_sequence = None
        self.frames = bytearray()
        self.tls = bytearray()
        self.records = []

    def feed(self, sequence, payload):
        if self.next_sequence is None:
            self.next_sequence = sequence
        behind = (self.next_sequence - sequence) & 0xFFFFFFFF
        if behind > 1 << 31:
            raise AssertionError("a segment was not captured")
        if behind >= len(payload):
            return  # all of it sent again
        self.next_sequence = (sequence + len(payload)) & 0xFFFFFFFF
        self.frames += payload[behind:]
        self._take_frames()

    def _take_frames(self):
        while len(self.frames) >= 2:
            (length,) = struct.unpack_from("!H", self.frames)
            if len(self.frames) < 2 + length:
                return
            frame = bytes(self.frames[2 : 2 + length])
            del self.frames[: 2 + length]
            if not (frame and frame[0] <= 3):  # else STUN: RFC 7983 7
                self.tls += frame
        self._take_records()

    def _take_records(self):
        while len(self.tls) >= TLS_HEADER:
            kind, _, length = struct.unpack_from("!BHH", self.tls)
            if len(self.tls) < TLS_HEADER + length:
                return
            self.records.append((kind, length))
            del self.tls[: TLS_HEADER + length]


class RecordCounter:
    """Counts the TLS records of the one connection between two nodes, at the first node's interface. Start it while the
    connection is quiet, so that both streams begin at a frame."""

    def __init__(self, node, connection):
        self.local = self._place(connection["local_address"])
        self.remote = self._place(connection["remote_address"])
        self.sent, self.received = Stream(), Stream()
        self.sock = inside(node.namespace, socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind(("eth0", 3))  # ETH_P_ALL: outgoing packets too

    @staticmethod
    def _place(text):
        host, port = text.rsplit(":", 1)
        return socket.inet_aton(host), int(port)

    def read(self, timeout):
        """Takes what was captured, waiting at most that long for the first packet."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        while poller.poll(timeout * 1000):
            self._packet(self.sock.recv(1 << 17))
            timeout = 0

    def _packet(self, packet):
        if struct.unpack_from("!H", packet, 12)[0] != ETH_P_IP or packet[23] != socket.IPPROTO_TCP:
            return
        ip = ETHERNET_HEADER
        tcp = ip + (packet[ip] & 15) * 4
        total = struct.unpack_from("!H", packet, ip + 2)[0]
        source_port, target_port, sequence = struct.unpack_from("!HHI", packet, tcp)
        source, target = (packet[ip + 12 : ip + 16], source_port), (packet[ip + 16 : ip + 20], target_port)
        payload = packet[tcp + (packet[tcp + 12] >> 4) * 4 : ip + total]
        if payload and (source, target) == (self.local, self.remote):
            self.sent.feed(sequence, payload)
        elif payload and (source, target) == (self.remote, self.local):
            self.received.feed(sequence, payload)

    def wait_for(self, sent, received, timeout):
        """Reads until that many records have been seen each way."""
        deadline = Deadline(timeout)
        while len(self.sent.records) < sent or len(self.received.records) < received:
            assert not deadline.passed(), f"{len(self.sent.records)} and {len(self.received.records)} records only"
            self.read(deadline.left())

    def close(self):
        self.sock.close()
