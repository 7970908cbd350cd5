# SPDX-License-Identifier: GPL-3.0-or-later
"""A local user who does his worst to a daemon that others use too: `neighbours.py SOCKET UID GID KIND CLIENTS PEER`.

Says "up" when its clients are connected, goes on until stdin ends, then says what it did. Runs as that user, and nice:
what is measured is the daemon, not who gets the processor."""
import contextlib
import json
import os
import selectors
import socket
import sys
import time

MIB = 1 << 20
READ = 1 << 18
LONGEST_NAME = 65_000
# What one client may have of each; ipc/PROTOCOL.md.
LISTENERS, OPENS = 1_000, 1_000


def line(method, number=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def brackets(head, tail):
    """As many empty arrays as a line of 1 MiB holds."""
    count = (MIB - len(head) - len(tail)) // 3 - 1
    return head + b"[]," * count + b"[]" + tail


def endless(kind, peer):
    """What each client says again and again."""
    hello = b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"client":'
    return {
        "arrays": lambda: brackets(b"[", b"]\n"),
        "arrays in params": lambda: brackets(hello + b"[", b"]}}\n"),
        "members": lambda: hello + b"{" + b'"a":1,' * (MIB // 6 - 20) + b'"a":1}}}\n',
        "strings": lambda: b'{"a":"' + b"\\\\" * (MIB // 2 - 8) + b'"}\n',
        "short lines": lambda: b"[]\n" * 20_000,
        "empty lines": lambda: b"\n" * 60_000,
        "long names": lambda: line("listen.add", uri="\x01" * LONGEST_NAME),
        "long names to open": lambda: line("channel.open", peer=peer, uri="\x01" * LONGEST_NAME),
        "revocations": lambda: line("crl.add", pem="x" * 1_000_000),
        "lists": lambda: b"".join(line(method) for method in (
            "rpc.discover", "daemon.status", "channel.list", "connection.list", "events.subscribe", "alias.list")) * 20,
        "opens": lambda: b"".join(line("channel.open", n, peer=peer, uri=f"nobody listens {n}") for n in range(100)),
        "cancelled opens": lambda: b"".join(
            line("channel.open", n, peer="5a" * 32, uri=f"x{n}") + line("channel.cancel", -1, id=n) for n in range(100)),
        "cancelled opens to a peer": lambda: b"".join(
            line("channel.open", n, peer=peer, uri="x") + line("channel.cancel", -1, id=n) for n in range(100)),
        "no end": lambda: b"x" * MIB,
    }[kind]()


def state(kind, peer):
    """What each client has when it goes."""
    if kind == "listeners":
        return b"".join(line("listen.add", n, uri=f"{os.urandom(8).hex()} {n}") for n in range(LISTENERS))
    return b"".join(line("channel.open", n, peer="5a" * 32, uri=f"x{n}", timeout=60) for n in range(OPENS))


class Neighbour:
    def __init__(self, path, kind, clients, peer):
        self.path, self.kind, self.wanted, self.peer = path, kind, clients, peer
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ)
        self.done = {"connected": 0, "refused": 0, "sent": 0, "received": 0}
        self.going = True

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self.path)
        sock.setblocking(False)
        self.done["connected"] += 1
        return sock

    def ended(self, timeout=0):
        self.going = self.going and not any(key.fd == 0 for key, _ in self.selector.select(timeout))
        return not self.going

    def lines(self, reads=True):
        """All clients send for ever, and read what they are told (or do not)."""
        data = memoryview(endless("lists" if self.kind == "deaf" else self.kind, self.peer))
        wanted = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
        for _ in range(self.wanted):
            self.selector.register(self.connect(), wanted, [0])
        print("up", flush=True)
        while self.going:
            for key, mask in self.selector.select():
                if key.fd == 0:
                    self.going = False
                elif not self.serve(key.fileobj, key.data, mask, data):
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.selector.register(self.connect(), wanted, [0])

    def serve(self, sock, at, mask, data):
        """False when the daemon has closed."""
        try:
            if mask & selectors.EVENT_READ:
                got = sock.recv(READ)
                self.done["received"] += len(got)
                if not got:
                    self.done["refused"] += 1
                    return False
            if mask & selectors.EVENT_WRITE:
                sent = sock.send(data[at[0]:])
                self.done["sent"] += sent
                at[0] = (at[0] + sent) % len(data)
        except BlockingIOError:
            pass
        except OSError:
            self.done["refused"] += 1
            return False
        return True

    def comes_and_goes(self):
        print("up", flush=True)
        while not self.ended():
            for sock in [self.connect() for _ in range(50)]:
                sock.close()

    def big_ends(self):
        """All clients fill their places, and go at the same moment; again and again."""
        print("up", flush=True)
        while not self.ended():
            socks = [self.connect() for _ in range(self.wanted)]
            for sock in socks:
                sock.setblocking(True)
                sock.settimeout(0.2)
            data = state(self.kind, self.peer)
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.sendall(data)
                    self.done["sent"] += len(data)
                if self.ended():
                    break
            until = time.monotonic() + 0.3
            while time.monotonic() < until and not self.ended(0.05):
                pass
            for sock in socks:
                sock.close()

    def places(self):
        """Takes all that there are, and keeps them."""
        socks = [self.connect() for _ in range(self.wanted)]
        print("up", flush=True)
        while not self.ended(0.5):
            pass
        for sock in socks:
            with contextlib.suppress(BlockingIOError, OSError):
                self.done["refused"] += 1 if sock.recv(READ) else 0

    def run(self):
        {"connects": self.comes_and_goes, "listeners": self.big_ends, "pending opens": self.big_ends,
         "places": self.places, "deaf": lambda: self.lines(reads=False)}.get(self.kind, self.lines)()
        print(json.dumps(self.done), flush=True)


def main():
    path, uid, gid, kind, clients, peer = sys.argv[1:]
    os.setgroups([int(gid)])
    os.setgid(int(uid))
    os.setuid(int(uid))
    os.nice(19)
    Neighbour(path, kind, int(clients), peer).run()


if __name__ == "__main__":
    main()
