# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS C: ending."""
import os
import subprocess
import sys
from collections import Counter, deque

import pytest
from api_client import reason_of
from harness import FILES, SANITIZER, SCALE, read_until, sha256, sized, until
from test_load import all_of, load_peers
from traffic import Echo, Reader, Sender, fill_all, round_trip


def joined(alice, bob, uri, **options):
    """A channel, both ends."""
    bob.api.call("listen.add", uri=uri, strict_end=options.get("strict_end", True))
    here = alice.api.open(bob.device, uri, **options)
    return here, bob.api.incoming(uri=uri)


def test_c1_sender_ends(pair):
    here, there = joined(*pair, "c1")
    data = os.urandom(3 << 20)
    sender = Sender(here, None)
    sender.block, sender.total = data, len(data)
    sender.start()
    assert there.receive(len(data)) == data
    sender.join(60 * SCALE)
    here.finish()
    assert there.receive_all() == b""
    there.finish()
    assert here.receive_all() == b""
    ends = here.end(), there.end()
    assert [end["reason"] for end in ends] == ["closed", "closed"]
    assert (ends[0]["bytes_out"], ends[1]["bytes_in"]) == (len(data), len(data))


def test_c1_receiver_closes(pair):
    here, there = joined(*pair, "c1r")
    sender = Sender(here, None)
    sender.start()
    assert len(there.receive(1 << 20)) == 1 << 20
    there.close()
    sender.join(60 * SCALE)
    assert isinstance(sender.error, OSError)
    assert here.end()["reason"] == "reset"
    assert there.end()["reason"] == "cancelled"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("strict", [True, False])
def test_c2_half_close(pair, first, strict):
    ends = joined(*pair, f"c2 {first} {strict}", strict_end=strict)
    one, other = ends[first], ends[1 - first]

    def finish(channel):
        if strict:
            channel.finish()
        else:
            channel.shut()

    one.send(b"request")
    finish(one)
    assert other.receive_all() == b"request"
    answer = os.urandom(500_000)
    sender = Sender(other, None)
    sender.block, sender.total = answer, len(answer)
    sender.start()
    assert one.receive(len(answer)) == answer
    sender.join(60 * SCALE)
    finish(other)
    assert one.receive_all() == b""
    assert one.end()["reason"] == other.end()["reason"] == "closed"


APP = """
import sys
sys.path.insert(0, sys.argv[1])
from api_client import Client
client = Client(sys.argv[2], "app")
channels = [client.open(sys.argv[3], sys.argv[4], strict_end=sys.argv[5] == "strict") for _ in range(int(sys.argv[6]))]
for channel in channels:
    channel.send(b"partial")
print("open", flush=True)
sys.stdin.read()
"""


def killed_app(alice, bob, uri, strict, count=1, before_kill=None):
    """An app of alice's that sends some bytes on each of `count` channels and is killed; bob's ends were reset, and are closed."""
    bob.api.call("listen.add", uri=uri)
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", APP, here, alice.socket_path, bob.device, uri, strict, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
        read_until(app.stdout, b"open\n", 40 * SCALE)
        there = [bob.api.incoming(uri=uri) for _ in range(count)]
        assert all(channel.receive(7) == b"partial" for channel in there)
        if before_kill:
            before_kill(there)
        app.kill()
    for channel in there:
        assert channel.end()["reason"] == "reset"
        channel.close()


def test_c3_killed_app_strict(pair):
    alice, bob = pair
    warm = joined(alice, bob, "c3 warm")  # the connection is there, and stays
    killed_app(alice, bob, "c3 strict", "strict")
    before = [node.fds() for node in pair]
    for number in range(5):
        killed_app(alice, bob, f"c3 strict {number}", "strict")
    for node, fds in zip(pair, before, strict=True):
        until(lambda: node.fds() <= fds, 10 * SCALE, f"{node.name} has {node.fds()} descriptors, not {fds}")
    warm[0].send(b"on")
    assert warm[1].receive(2) == b"on"


def test_c3_killed_app_with_unread_data(pair):
    """What waited for the dead is given back."""
    alice, bob = pair
    warm = joined(alice, bob, "c3 unread warm")
    held, rounds, before = [], 4, []

    def filled(channels):
        rss = alice.rss()

        def much_is_held():
            fill_all(channels, 0.3 * SCALE)  # a daemon that is only late takes more after it
            held.append(alice.rss() - rss)
            return SANITIZER or before or held[-1] >= 4 << 20

        until(much_is_held, 60 * SCALE, "left behind, it would be noticed")

    for number in range(1 + rounds):
        killed_app(alice, bob, f"c3 unread {number}", "plain", 64, filled)
        before = before or [(node.fds(), node.rss()) for node in pair]  # of the first: warm
    # malloc gives back what lies at the top of its heap alone, and may keep a round's bytes for the next one.
    # How much is held depends on how fast it was written: windows grow with the pace.
    bound = min(16 << 20, max(held) * rounds // 2)
    for node, (fds, rss) in zip(pair, before, strict=True):
        until(lambda: node.fds() <= fds, 10 * SCALE, f"{node.name} has {node.fds()} descriptors, not {fds}")
        until(lambda: SANITIZER or node.rss() <= rss + bound, 10, f"{node.name} has {node.rss()} bytes, not {rss}")
    warm[0].send(b"on")
    assert warm[1].receive(2) == b"on"


def test_c4_connection_breaks(pair, netns):
    """Whoever only reads, only writes, both, or has one direction behind it: connection-lost, at both ends."""
    alice, bob = pair
    channels = {name: joined(alice, bob, f"c4 {name}") for name in ("reads", "writes", "both", "alice done", "bob done")}
    for one, other in channels["alice done"], channels["bob done"][::-1]:
        one.finish()
        assert other.receive_all() == b""
    every = [channel for ends in channels.values() for channel in ends]
    reading = [channels["reads"][0], channels["writes"][1], *channels["both"]]
    readers = [Reader(channel) for channel in [*reading, channels["alice done"][0], channels["bob done"][1]]]
    senders = [Sender(channel, None) for channel in (channels["reads"][1], channels["writes"][0], *channels["both"])]
    for sender in senders:
        sender.start()
    # And by the command line, a reader and a writer.
    listener = bob.ctl_start("listen", "c4 ctl", "--once", "--exec", "yes", stderr=subprocess.PIPE)
    read_until(listener.stderr, b"c4 ctl", 20 * SCALE)
    opener = alice.ctl_start("open", bob.device, "c4 ctl", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_until(opener.stdout, b"y\n", 20 * SCALE)
    until(lambda: all(reader.count >= 1 << 20 for reader in readers[: len(reading)]), 40 * SCALE, "all flow")
    alice.cut("reset")
    try:
        ends = [channel.end(90) for channel in every]
        told = [opener.communicate(timeout=60 * SCALE)[1].decode(), listener.communicate(timeout=60 * SCALE)[1].decode()]
    finally:
        alice.mend()
    assert opener.returncode == listener.returncode == 8, told
    assert all("(connection-lost)" in text for text in told), told
    assert {end["reason"] for end in ends} == {"connection-lost"}, ends
    read_by_now = {reader.sock for reader in readers}
    readers += [Reader(channel) for channel in every if channel.sock not in read_by_now]
    print("the fds read", Counter(reader.wait_end(60 * SCALE) for reader in readers))
    for sender in senders:
        sender.join(60 * SCALE)
        assert isinstance(sender.error, OSError)
    for node in pair:
        node.api.sync()
        assert not node.api.taken("channel.closed"), "reported twice"
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"


def test_c4_the_peers_daemon_is_killed(lab):
    """Its kernel ends the stream without TLS's close_notify: nothing says that all was sent."""
    alice, bob = lab.pair()
    events = alice.client("events")
    events.call("events.subscribe")
    here, _ = joined(alice, bob, "c4 killed")
    bob.kill()
    assert here.end(20 * SCALE)["reason"] == "connection-lost"
    closed = events.event("connection.closed", 20 * SCALE, peer=bob.device)
    assert closed["reason"] == "connection-lost", closed
    # Said good-bye to, it is another reason.
    bob.start()
    joined(alice, bob, "c4 killed")
    bob.stop()
    assert events.event("connection.closed", 20 * SCALE, peer=bob.device)["reason"] == "shutting-down"


def test_c5_closed_while_pending_and_opened_from_an_end(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="c5 ask", mode="ask")
    request = alice.api.send("channel.open", peer=bob.device, uri="c5 ask")
    asked = bob.api.wait("channel.request")[0]["request"]
    alice.api.call("channel.cancel", id=request)
    assert reason_of(alice.api.reply, request) == "cancelled"
    assert bob.api.wait("channel.request_cancelled")[0] == {"request": asked, "reason": "cancelled"}
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo 0")
        for number in range(1, 20):
            channel.finish()
            channel.receive_all()
            assert channel.end()["reason"] == "closed"
            channel.close()
            channel = alice.api.open(bob.device, f"echo {number}")
        assert round_trip(channel, b"last") == b"last"


def connection_of(node, peer):
    """The number of the one that stands; those that close are not it."""
    return [c["connection"] for c in node.connections(peer) if c["state"] == "connected"]


def test_c6_connection_closed_while_an_open_waits(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="c6", mode="ask")
    request = alice.api.send("channel.open", peer=bob.device, uri="c6")
    first = bob.api.wait("channel.request")[0]["request"]
    former = connection_of(bob, alice)
    bob.api.call("connection.close", peer=alice.device)
    assert bob.api.wait("channel.request_cancelled", request=first)
    second = bob.api.wait("channel.request")[0]["request"]
    fresh = connection_of(bob, alice)
    assert len(former) == len(fresh) == 1 and former != fresh
    bob.api.call("channel.decline", request=second)
    assert reason_of(alice.api.reply, request) == "declined"
    alice.api.sync()
    assert not any(alice.api.replies.values()), "answered twice"


def test_c6_connection_closed_twice_while_an_open_waits(pair):
    """One retry: a peer that hangs up on each request is not dialled for ever."""
    alice, bob = pair
    bob.api.call("listen.add", uri="c6 twice", mode="ask")
    request = alice.api.send("channel.open", peer=bob.device, uri="c6 twice")
    for _ in range(2):
        asked = bob.api.wait("channel.request")[0]["request"]
        assert bob.api.call("connection.close", peer=alice.device)["closed"] == 1
        assert bob.api.wait("channel.request_cancelled", request=asked)
    assert reason_of(alice.api.reply, request) == "connection-lost"
    until(lambda: not alice.connections(bob) and not bob.connections(alice), 10 * SCALE, "nobody dials")
    for node in pair:
        node.api.sync()
    assert not any(alice.api.replies.values()), "answered twice"
    assert not bob.api.taken("channel.request"), "asked a third time"


def opened_over_a_cut(alice, bob, echo, uris):
    """Asks for these while the connection breaks: by resets, once the accepts are lost on the way; or, where that cannot be,
    before, by a good-bye. The requests."""
    former = connection_of(alice, bob)
    if not alice.namespace:
        assert bob.api.call("connection.close", peer=alice.device)["closed"] >= 1
        return [alice.api.send("channel.open", peer=bob.device, uri=uri, timeout=60) for uri in uris]
    alice.cut("deaf")
    try:
        out = [alice.api.send("channel.open", peer=bob.device, uri=uri, timeout=60) for uri in uris]
        alice.api.sync()
        until(lambda: set(uris) <= set(echo.uris[-2 * len(uris) :]), 20 * SCALE, "the other side has accepted all")
        alice.cut("reset")
        until(lambda: former[0] not in connection_of(alice, bob), 20 * SCALE, "it breaks")
    finally:
        alice.mend()
    return out


def test_c7_cut_in_the_middle_of_many_opens(pair):
    alice, bob = pair
    # A daemon may hold both ends of a channel, and for a moment as many that broke or are closing.
    count, live = sized((300, 60), (1500, 250), (49_000, min(8_000, (FILES - 2_000) // 4)))
    lost = [f"c7 lost {number}" for number in range(min(live // 8, 64))]
    waiting, held, opened, ends, closing = deque(), deque(), {}, {}, set()

    def collect():
        channel = alice.api.opened(waiting.popleft(), 60 * SCALE)  # each succeeds: re-dialled
        opened[channel.handle] = channel
        held.append(channel)

    def close_oldest():
        channel = held.popleft()
        if channel.handle not in ends:
            closing.add(channel.handle)
        channel.close()

    def take_end(end):
        handle = end[0]["channel"]
        assert handle not in ends, "ended twice"
        ends[handle] = end[0]["reason"]
        closing.discard(handle)
        if handle in opened:
            opened[handle].close()

    with Echo(bob, "c7") as echo:
        for number in range(count):
            waiting.append(alice.api.send("channel.open", peer=bob.device, uri=f"c7 {number}", timeout=60))
            if number == count // 2:
                waiting += opened_over_a_cut(alice, bob, echo, lost)
            if len(waiting) > live // 2:  # a client may have 4,096 in flight
                collect()
            while end := alice.api.find("channel.closed"):
                take_end(end)
            while len(waiting) + len(opened) - len(ends) - len(closing) >= live:
                if len(closing) > live // 4:
                    take_end(alice.api.wait("channel.closed", 60 * SCALE))
                elif held:
                    close_oldest()
                else:
                    collect()
        while waiting:
            collect()
        while held:
            close_oldest()
        while len(ends) < count + len(lost):
            take_end(alice.api.wait("channel.closed", 60 * SCALE))
        # Accepts that were lost on the way are channels too, over there.
        until(lambda: len(echo.ends) == len(echo.uris), 60 * SCALE, "the other ends have ended")
    alice.api.sync()
    assert not alice.api.taken("channel.closed"), "ended twice"
    assert len(echo.ends) == len(echo.uris) >= count + len(lost) * (2 if alice.namespace else 1)
    assert not echo.client.taken("channel.closed")
    reasons, there = Counter(ends.values()), Counter(echo.ends.values())
    print(f"{len(ends)} opens, at most {live} live: {dict(reasons)}; accepted {len(echo.uris)}: {dict(there)}")
    assert set(ends) == set(opened)
    assert set(reasons) == {"closed", "connection-lost"}  # not strict: a bare close is a clean end


def test_c8_closing_all_connections_with_a_device_and_an_account(pair):
    alice, bob = pair
    for peer in (bob.device, bob.account):
        here, there = joined(alice, bob, "c8 " + peer[:8])
        assert alice.api.call("connection.close", peer=peer)["closed"] == 1
        assert here.end()["reason"] == "connection-lost"
        assert there.end()["reason"] == "connection-lost"
        until(lambda: not alice.connections(bob) and not bob.connections(alice), 10, "no connection")


def test_c8_closing_leaves_the_others(lab):
    """All devices of an account, or one of them: those, and nobody else."""
    alice, carol = lab.pair()
    load, devices = load_peers(lab, alice, 4)
    with Echo(alice) as echo:
        others = carol.api.open(alice.device, "echo")
        all_of(load, "connected", 4, 60 * SCALE, "connect", "echo", 4)
        all_of(load, "opened", 8, 60 * SCALE, "open", "echo", 2)
        connections = {c["peer"]: c for c in alice.connections()}
        account = connections[devices[0]]["account"]
        assert set(connections) == {*devices, carol.device} and connections[carol.device]["account"] != account
        for closed, peer, left in (1, devices[0], 3), (3, account, 0):
            assert alice.api.call("connection.close", peer=peer)["closed"] == closed
            until(lambda: len(alice.connections()) == left + 1, 10 * SCALE, f"{left} devices, and carol, are left")
            until(lambda: len(echo.ends) == 3 * (4 - left), 10 * SCALE, f"the ends of {closed} devices")
            assert set(echo.ends.values()) == {"connection-lost"}
            assert {c["peer"] for c in alice.connections()} == {*devices[4 - left :], carol.device}
            assert round_trip(others, b"still here") == b"still here"
    load.end()


@pytest.mark.parametrize("who", ["sender", "receiver"])
def test_c9_daemon_stops_with_data_in_flight(lab, who):
    alice, bob = lab.pair()
    here, there = joined(alice, bob, "c9")
    sender, reader = Sender(here, None), Reader(there)
    sender.start()
    until(lambda: reader.count >= 1 << 20, 20 * SCALE, "it flows")
    stopped, other = (alice, bob) if who == "sender" else (bob, alice)
    own, far = (here, there) if who == "sender" else (there, here)
    device = stopped.device
    stopped.process.popen.terminate()
    assert own.end(30)["reason"] == "shutting-down"
    assert far.end(30)["reason"] in ("connection-lost", "shutting-down")
    sender.join(60 * SCALE)
    assert isinstance(sender.error, OSError)
    reader.wait_end(60 * SCALE)
    assert stopped.process.wait(60 * SCALE) == 0
    stopped.check_log()
    assert not os.path.exists(stopped.socket_path)
    stopped.start()
    assert stopped.device == device
    other.api.sync()
    assert not other.api.taken("channel.closed"), "reported twice"
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"


def test_c9_killed_daemon_leaves_a_stale_socket(lab):
    alice = lab.node("alice").start()
    device = alice.device
    alice.kill()
    assert os.path.exists(alice.socket_path)
    alice.start()
    assert alice.device == device


def test_sums_agree_over_many_sizes(pair):
    alice, bob = pair
    with Echo(bob, "sizes"):
        for size in (0, 1, 16_379, 16_380, 65_531, 65_532, 65_533, 65_536, 1_000_003):
            channel = alice.api.open(bob.device, f"sizes {size}")
            data = os.urandom(size)
            sender = Sender(channel, None)
            sender.block, sender.total = data, size
            sender.start()
            assert sha256(channel.receive(size)) == sha256(data)
            sender.join(60 * SCALE)
            channel.finish()
            assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
            channel.close()
