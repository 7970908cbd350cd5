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
IN_FLIGHT = 100  # until an app has its end of a channel the daemon has both: near the limit there are few to spare
SECONDS = 480  # for any one step, also under a sanitizer


def open_all(client, peer, count):
    """With few on their way, at either side: an echoed byte says that the peer's app has its end, too."""
    requests, channels = [], []
    for number in range(count + 2 * IN_FLIGHT):
        if number >= 2 * IN_FLIGHT:
            assert channels[number - 2 * IN_FLIGHT].receive(1, SECONDS) == b"."
        if IN_FLIGHT <= number < count + IN_FLIGHT:
            channels.append(client.opened(requests[number - IN_FLIGHT], SECONDS).send(b"."))
        if number < count:
            requests.append(client.send("channel.open", peer=peer, uri=f"{URI} {number}", timeout=SECONDS))
    return channels


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
