#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strangers who dribble garbage into every TCP port on which a process listens, from the moment the ports open.

usage: strangers.py PID[,PID…] ADDRESS[,ADDRESS…] [COUNT]

Watches the listening sockets of the processes in /proc/PID/net/tcp. To each new port COUNT strangers (default 4)
connect and write a few bytes now and then until they are thrown out. Prints "met PORT" for each that it found. Runs
until its stdin ends, then prints how many connections were made and how many bytes were written.
"""
import os
import random
import selectors
import socket
import struct
import sys

# How often the ports are looked at: the time that a port may be open before the first stranger knocks. Also the pace.
LOOK_SECONDS = 0.0005
LISTEN = "0A"  # linux/tcp_states.h: TCP_LISTEN
MAX_CONNECTIONS = 400


def listening(pid):
    """(family, address or None for any, port, inode) of every listening TCP socket of the process's network."""
    rows = []
    for family, path in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        with open(f"/proc/{pid}/net/{path}", encoding="ascii") as table:
            for row in table.readlines()[1:]:
                fields = row.split()
                if fields[3] == LISTEN:
                    address, port = fields[1].split(":")
                    rows.append((family, address, int(port, 16), fields[9]))
    return rows


def address_of(family, text):
    raw = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    return None if not any(raw) else socket.inet_ntop(family, raw)


def garbage():
    kind = random.randrange(4)
    if kind == 0:
        return os.urandom(random.randrange(1, 6))
    if kind == 1:  # an RFC 4571 length, and less than it says
        return struct.pack("!H", random.randrange(1, 2000)) + os.urandom(3)
    if kind == 2:  # the start of a STUN message
        return struct.pack("!HHHI", 20, 1, 0, 0x2112A442)[: random.randrange(1, 10)]
    return b"\x16\x03\x01" + os.urandom(2)  # the start of a TLS record


class Strangers:
    def __init__(self, pids, count):
        self.pids = pids
        self.count = count
        self.seen = set()
        self.selector = selectors.DefaultSelector()
        self.made = 0
        self.written = 0
        self.live = {}

    @staticmethod
    def inodes_of(pid):
        found = set()
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if link.startswith("socket:["):
                found.add(link[8:-1])
        return found

    def look(self):
        for pid, address in self.pids:
            try:
                rows = listening(pid)
            except OSError:
                continue
            fresh = [row for row in rows if row[3] not in self.seen]
            own = self.inodes_of(pid) if fresh else set()
            for family, bound, port, inode in fresh:
                if inode not in own:
                    continue
                self.seen.add(inode)
                target = address_of(family, bound)
                if target is None and (":" in address) != (family == socket.AF_INET6):
                    continue  # of all addresses of a family of which none is known
                print("met", port, flush=True)
                for _ in range(self.count):
                    self.connect(family, target or address, port)

    def connect(self, family, address, port):
        if len(self.live) >= MAX_CONNECTIONS:
            self.drop(next(iter(self.live)))
        stranger = socket.socket(family, socket.SOCK_STREAM)
        stranger.setblocking(False)
        stranger.connect_ex((address, port))
        self.live[stranger] = None
        self.made += 1

    def drop(self, stranger):
        del self.live[stranger]
        stranger.close()

    def dribble(self):
        for stranger in list(self.live):
            try:
                self.written += stranger.send(garbage())
            except BlockingIOError:
                pass
            except OSError:
                self.drop(stranger)

    def run(self):
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            self.look()
            self.dribble()
            if self.selector.select(LOOK_SECONDS) and not sys.stdin.buffer.read1(1):
                break
        print(self.made, self.written, flush=True)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    pids = [int(pid) for pid in sys.argv[1].split(",")]
    addresses = sys.argv[2].split(",")
    Strangers(list(zip(pids, addresses, strict=True)), int(sys.argv[3]) if len(sys.argv) == 4 else 4).run()


if __name__ == "__main__":
    main()
