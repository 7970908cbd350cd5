#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""many_channels.py SOCKET PEER COUNT: echoes what comes, and opens COUNT channels to the peer's echo. A process of its own
for each side, so that each may hold as many files as there can be. Lines on standard input:
  open   opens all; says "open" when all are
  try    32 bytes there and back on each, then the end of each; says "right N"."""
import os
import sys
import types

from api_client import Client
from traffic import Echo

URI = "many"
SECONDS = 480  # for any one step, also under a sanitizer


def open_all(client, peer, count):
    requests = [client.send("channel.open", peer=peer, uri=f"{URI} {n}", timeout=SECONDS) for n in range(count)]
    return [client.opened(request, SECONDS) for request in requests]


def try_all(channels):
    sent = [os.urandom(32) for _ in channels]
    for channel, data in zip(channels, sent, strict=True):
        channel.send(data).shut()
    right = sum(channel.receive_all(SECONDS) == data for channel, data in zip(channels, sent, strict=True))
    for channel in channels:
        channel.close()
    return right - sum(channel.end(SECONDS)["reason"] != "closed" for channel in channels)


def main():
    path, peer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    client = Client(path, "many_channels")
    channels = []
    with Echo(types.SimpleNamespace(socket_path=path), URI):
        print("listens", flush=True)
        for line in sys.stdin:
            if line.strip() == "open":
                channels = open_all(client, peer, count)
                assert len({channel.handle for channel in channels}) == count
                print("open", flush=True)
            else:
                print("right", try_all(channels), flush=True)


main()
