# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS B4: unique channels."""
from api_client import Channel, reason_of
from harness import SCALE, sized, until
from traffic import Echo, round_trip


def unique(node, peer, uri="u"):
    return node.api.send("channel.open", peer=peer.device, uri=uri, unique=True)


def test_b4_unique(pair):
    alice, bob = pair
    alice.api.call("connection.close", peer=bob.device)
    with Echo(bob, "u") as echo:
        # Before and during connecting: one channel, and its fd once.
        replies = [alice.api.reply(request) for request in [unique(alice, bob) for _ in range(3)]]
        handles = {result["channel"] for result, _ in replies}
        fds = [(result, fd) for result, fd in replies if fd is not None]
        assert len(handles) == 1 and len(fds) == 1
        again, no_fd = alice.api.reply(unique(alice, bob))
        assert again["channel"] in handles and no_fd is None
        with alice.client("another") as other:
            assert reason_of(other.call, "channel.open", peer=bob.device, uri="u", unique=True) == "duplicate"
        plain = alice.api.open(bob.device, "u")
        distinct = alice.api.opened(unique(alice, bob, "u2"))
        assert len(handles | {plain.handle, distinct.handle}) == 3
        until(lambda: echo.uris == ["u", "u", "u2"], 10, "three channels, not more")
        channel = Channel(alice.api, *fds[0])
        assert round_trip(channel, b"one") == b"one"
        channel.shut()
        assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
        fresh = alice.api.opened(unique(alice, bob))
        assert fresh.handle not in handles and round_trip(fresh, b"new") == b"new"


def one_fd(node, request):
    """The one channel of a unique open, whichever way its fd came."""
    opened = node.api.opened(request)
    if isinstance(opened, dict):
        opened = node.api.incoming(channel=opened["channel"])
    node.api.sync()
    assert not node.api.taken("channel.opened"), "a second fd"
    return opened


def test_b4_unique_from_both_sides(pair):
    alice, bob = pair
    for node in pair:
        node.api.call("listen.add", uri="cross", prefix=True)
    for number in range(10):
        uri = f"cross {number}"
        here, there = unique(alice, bob, uri), unique(bob, alice, uri)
        # Each side gets the one channel as the result of its open, or, if the other's request came first, had it from
        # its listener already: then the result has no fd.
        ends = [one_fd(node, request) for node, request in zip(pair, (here, there), strict=True)]
        ends[0].send(b"a")
        ends[1].send(b"b")
        assert ends[1].receive(1) == b"a" and ends[0].receive(1) == b"b"
        for node in pair:
            listed = [c for c in node.api.call("channel.list")["channels"] if c["uri"] == uri]
            assert len(listed) == 1, listed


def test_b4_unique_of_a_channel_that_the_listener_got(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="heard")
    here = alice.api.opened(unique(alice, bob, "heard"))
    there = bob.api.incoming()
    fds = bob.fds()
    result, fd = bob.api.reply(unique(bob, alice, "heard"))
    assert (result["channel"], fd) == (there.handle, None)
    assert bob.fds() <= fds
    there.send(b"one")
    assert here.receive(3) == b"one"


def unconnected(pair):
    """Both have no connection with each other any more, and none is being made."""
    alice, bob = pair
    for node, peer in (pair, (bob, alice)):
        node.api.call("connection.close", peer=peer.device)
    until(lambda: not alice.connections(bob) and not bob.connections(alice), 20 * SCALE, "no connection")


def one_channel(pair, uri):
    """What each side opened is one channel: one is listed at each, and bytes cross."""
    for node in pair:
        listed = [c for c in node.api.call("channel.list")["channels"] if c["uri"] == uri]
        assert len(listed) == 1, (node.name, listed, node.connections())


def test_b4_unique_from_both_sides_while_connecting(pair):
    """Both dial, and of the two connections that come of it each may have placed its open on another one."""
    alice, bob = pair
    for node in pair:
        node.api.call("listen.add", uri="glare", prefix=True)
    double = 0
    for number in range(sized(12, 60, 200)):
        unconnected(pair)
        uri = f"glare {number}"
        here, there = unique(alice, bob, uri), unique(bob, alice, uri)
        ends = [one_fd(node, request) for node, request in zip(pair, (here, there), strict=True)]
        ends[0].send(b"a")
        ends[1].send(b"b")
        assert ends[1].receive(1) == b"a" and ends[0].receive(1) == b"b"
        double += len(alice.connections(bob)) > 1
        one_channel(pair, uri)
        for node, end in zip(pair, ends, strict=True):
            end.close()
            node.api.taken("channel.closed")
    print(f"two connections in {double} rounds")
