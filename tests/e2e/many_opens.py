#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""many_opens.py SOCKET PEER COUNT: COUNT opens in flight on one control connection, each channel tried; prints how many
were right."""
import sys

from api_client import Client


def main():
    path, peer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    client = Client(path, "many_opens")
    requests = [client.send("channel.open", peer=peer, uri=f"many {n}", timeout=60) for n in range(count)]
    channels = [client.opened(request, 90) for request in requests]
    right = 0
    for number, channel in enumerate(channels):
        channel.send(b"%d" % number).shut()
    for number, channel in enumerate(channels):
        right += channel.receive_all() == b"%d" % number
    print(right, "channels")


main()
