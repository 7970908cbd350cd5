# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that want more channels than there are."""
from harness import SANITIZER, SCALE, sized, until
from hostile import MAX_GROWTH, OWN, connected, request
from traffic import Echo


def test_opens_for_ever_and_never_reads(attacked):
    """Channels without end to an app that writes at once, and not a byte read."""
    alice, hostile, device, events = attacked
    with Talker(alice, "talk", peers="any"):
        connected(hostile, alice, events, device)
        rss, fds = alice.rss(), alice.fds()
        hostile.say("quiet").say("pause")
        data = b"".join(request("talk", OWN + n, 1 << 20) for n in range(sized(100, 500, 2000)))
        hostile.plain(data)
        until(lambda: mine(alice, device) >= 100, 30 * SCALE, "the channels are open")
        alice.api.sync()
        growth = alice.rss() - rss
        print(f"{mine(alice, device)} channels, grew by {growth >> 10} KiB")
        assert SANITIZER or growth < MAX_GROWTH
        alice.api.call("connection.close", peer=device)
        until(lambda: not mine(alice, device) and alice.fds() <= fds, 30 * SCALE, "all is given back")


def mine(node, device):
    return len([c for c in node.api.call("channel.list")["channels"] if c["peer"] == device])


class Talker(Echo):
    """Writes as soon as a channel is there."""

    def opened(self, channel):
        super().opened(channel)
        try:
            channel.sock.send(b"t" * 65_536)
        except OSError:
            pass  # full, or gone already
