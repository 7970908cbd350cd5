# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G8: events. A snapshot and what follows it are the whole truth, and who reads too slowly is told so."""
from harness import SCALE, sized, until
from traffic import Echo

# IpcSession::kMaxQueuedForEvents is 1 MiB, and the socket takes some hundred kilobytes more: 40 channels that open and
# close tell of their uri twice, 4.8 MB.
LONG_URI = 60_000
CHANNELS = 40
# What the lists and events tell of the same thing, and both know at all times.
OF_CHANNEL = ("channel", "peer", "account", "uri", "direction", "uid", "pid")
OF_CONNECTION = ("connection", "peer", "direction")


def part(item, members):
    return {member: item.get(member) for member in members}


class View:
    """What a subscriber knows: its snapshot, and the events since."""

    def __init__(self, node):
        self.client = node.client("view")
        snapshot = self.client.call("events.subscribe")
        self.seq, self.network = snapshot["seq"], snapshot["network"]
        self.channels = {item["channel"]: part(item, OF_CHANNEL) for item in snapshot["channels"]}
        self.connections = {item["connection"]: part(item, OF_CONNECTION) for item in snapshot["connections"]}
        self.lost = []

    def apply(self, event):
        kind = event["type"]
        if self.lost and kind.endswith((".closed", ".failed")):  # of what it never heard of, maybe
            self.channels.pop(event.get("channel"), None)
            self.connections.pop(event.get("connection"), None)
        elif kind == "channel.opened":
            assert event["channel"] not in self.channels
            self.channels[event["channel"]] = part(event, OF_CHANNEL)
        elif kind == "channel.closed":
            del self.channels[event["channel"]]
        elif kind == "connection.connecting":
            assert event["connection"] not in self.connections
            self.connections[event["connection"]] = part(event, OF_CONNECTION)
        elif kind == "connection.connected":
            assert self.connections[event["connection"]] == part(event, OF_CONNECTION)
        elif kind in ("connection.closed", "connection.failed"):
            del self.connections[event["connection"]]
        elif kind == "network.state":
            self.network = event["network"]

    def catch_up(self):
        """Applies all that the daemon said before now, in its order."""
        self.client.sync()
        for method, params, _ in self.client.notes:
            if method == "event":
                assert params["seq"] == self.seq + 1, (params, self.seq)
                self.apply(params)
            else:
                assert method == "events.lost" and params["seq"] == self.seq + params["lost"], params
                self.lost.append(params["lost"])
            self.seq = params["seq"]
        self.client.notes.clear()

    def must_be(self, node):
        channels = node.api.call("channel.list")["channels"]
        connections = node.connections()
        self.catch_up()
        assert self.channels == {item["channel"]: part(item, OF_CHANNEL) for item in channels}
        assert self.connections == {item["connection"]: part(item, OF_CONNECTION) for item in connections}
        assert self.network == node.status()["dht"]["state"]


def test_g8_events_are_numbered_without_gaps(pair):
    alice, bob = pair
    client = alice.client("events")
    snapshot = client.call("events.subscribe")
    assert snapshot["ready"] is True and snapshot["network"] == "connected"
    with Echo(bob, "g8"):
        for number in range(20):
            alice.api.open(bob.device, f"g8 {number}").close()
    ended = 0
    seen = []
    while ended < 20:
        event, _ = client.wait("event")
        seen.append(event["seq"])
        ended += event["type"] == "channel.closed"
    assert seen == list(range(snapshot["seq"] + 1, snapshot["seq"] + 1 + len(seen)))
    client.call("events.unsubscribe")


def test_g8_snapshot_then_deltas(lab):
    """At whatever moment somebody subscribes, and whatever happens then: snapshot and events add up to the lists."""
    alice, bob = lab.pair()
    with Echo(bob, "bob's"), Echo(alice, "alice's"):
        views = [View(alice)]  # of nothing yet
        opener, peer = alice.client("opener"), bob.client("peer")
        requests = []
        for number in range(sized(10, 20, 100)):
            requests.append((opener, opener.send("channel.open", peer=bob.device, uri=f"bob's {number}")))
            requests.append((peer, peer.send("channel.open", peer=alice.device, uri=f"alice's {number}")))
            if number % 5 == 0:  # amid connecting and opening
                views.append(View(alice))
        channels = [client.opened(request) for client, request in requests]
        views.append(View(alice))
        for view in views:
            view.must_be(alice)
            assert len(view.channels) == len(channels)
        for channel in channels[::2]:
            channel.close()
        for channel in channels[::2]:
            channel.end()
        until(lambda: alice.status()["counts"]["channels"] == len(channels) - len(channels[::2]), 20 * SCALE, "half are closed")
        for view in views:
            view.must_be(alice)
        alice.api.call("connection.close", peer=bob.device)
        until(lambda: not alice.connections(), 20 * SCALE, "no connection")
        request = opener.send("channel.open", peer="5a" * 32, uri="nobody", timeout=0.1)
        assert opener.message_for(request)[0]["error"]["data"]["reason"] == "not-found"
        channel = opener.open(bob.device, "bob's again")
        for view in views:
            view.must_be(alice)
            assert list(view.channels) == [channel.handle] and not view.lost


def test_g8_a_slow_subscriber_is_told_what_it_lost(pair):
    alice, bob = pair
    metric = alice.status()["metrics"]["events_lost"]
    with Echo(bob, ""):
        slow, prompt = View(alice), View(alice)
        began, before = prompt.seq, slow.seq
        for number in range(CHANNELS):
            channel = alice.api.open(bob.device, f"{number:05}".ljust(LONG_URI, "x"))
            channel.close()
            channel.end()
            prompt.catch_up()
        assert not prompt.lost and prompt.seq - began >= 2 * CHANNELS
        # It reads now: what came first, in its order, then one notification for the rest. What comes later follows.
        slow.catch_up()
        assert len(slow.lost) == 1 and slow.lost[0] > 10
        assert alice.status()["metrics"]["events_lost"] - metric == slow.lost[0]
        channel = alice.api.open(bob.device, "one more")
        for view in (slow, prompt):
            view.catch_up()
            assert view.channels[channel.handle]["uri"] == "one more"
        assert slow.seq - before == prompt.seq - began and len(slow.lost) == 1
        # And a fresh snapshot is the whole truth again.
        View(alice).must_be(alice)
