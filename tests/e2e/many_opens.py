#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""many_opens.py SOCKET PEER COUNT: COUNT opens in flight on one control connection, each channel tried; prints how many
were right, and how many opens were refused for want of descriptors. Any other answer ends it with an error."""
import sys

from api_client import ApiError, Client


def opened(client, requests):
    """Channels by number; the rest was refused."""
    channels = {}
    for number, request in enumerate(requests):
        try:
            channels[number] = client.opened(request, 90)
        except ApiError as error:
            if error.reason != "resource-limit":
                raise
    return channels


def main():
    path, peer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    client = Client(path, "many_opens")
    requests = [client.send("channel.open", peer=peer, uri=f"many {n}", timeout=60) for n in range(count)]
    channels = opened(client, requests)
    for number, channel in channels.items():
        channel.send(b"%d" % number).shut()
    right = sum(channel.receive_all() == b"%d" % number for number, channel in channels.items())
    print(right, count - len(channels))


main()
