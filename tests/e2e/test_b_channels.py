# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS B: channels."""
import contextlib
import os
import pathlib
import select
import struct
import sys
import threading
import time

import pytest
from api_client import reason_of
from harness import SCALE, ApiError, Late, as_many_from_each_side, sha256, sized, until
from puppet import Puppet
from traffic import Echo, RecordCounter, Sender, Sink, round_trip

MAX_NAME = 65_000
MANY_CHANNELS = pathlib.Path(__file__).with_name("many_channels.py")


def finish(channel):
    """Ends a channel whose other side ends after us; its `channel.closed` reason."""
    channel.finish()
    rest = channel.receive_all()
    assert rest == b""
    reason = channel.end()["reason"]
    channel.close()
    return reason


def figures(node):
    """What connections cost: how many there were, and what came over the DHT."""
    metrics = node.status()["metrics"]
    return metrics["connections_made"], metrics["dht_requests_received"]


def test_b1_further_open_is_one_small_record_each_way(netns, pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="b1", prefix=True)
    # Kept open: an end is a record, too.
    channels = [alice.api.open(bob.device, "b1 first"), bob.api.incoming()]
    connections = alice.connections(bob)
    assert len(connections) == 1
    counter = RecordCounter(alice, connections[0])
    handle = connections[0]["connection"]
    alice.api.call("events.subscribe")
    cost = [figures(node) for node in pair]
    for number in range(1, 9):
        channels += [alice.api.open(bob.device, f"b1 {number}"), bob.api.incoming(uri=f"b1 {number}")]
        counter.wait_for(number, number, 60 * SCALE)
        assert len(counter.sent.records) == len(counter.received.records) == number
    # What a request, an answer and their windows are: some dozens of bytes, and 17 of TLS.
    assert all(kind == 23 and length < 120 for kind, length in counter.sent.records + counter.received.records)
    alice.api.sync()
    bob.api.sync()
    counter.read(0.1)  # a record that came behind
    assert len(counter.sent.records) == len(counter.received.records) == 8
    assert not alice.api.taken("event", type="connection.progress"), "a further handshake"
    assert [figures(node) for node in pair] == cost
    assert [c["connection"] for c in alice.connections(bob)] == [handle]
    assert len({channel.handle for channel in channels[::2]}) == len(channels) / 2
    counter.close()


def tcp_with_peers(node):
    """How many TCP sockets of the daemon are connected; its network namespace has no others."""
    own = set(node.files().values())
    count = 0
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{node.process.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            cells = line.split()
            count += cells[3] == "01" and f"socket:[{cells[9]}]" in own  # ESTABLISHED
    return count


def test_fault_a7_one_tcp_connection_on_each_side(pair):
    alice, bob = pair
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        assert round_trip(channel, b"1") == b"1"
        until(lambda: [tcp_with_peers(node) for node in pair] == [1, 1], 5 * SCALE, "ICE's other sockets are closed")
        assert round_trip(channel, b"22") == b"22"


def test_b2_one_name_twice(pair):
    alice, bob = pair
    with Echo(bob):
        one, two = alice.api.open(bob.device, "echo"), alice.api.open(bob.device, "echo")
        assert one.handle != two.handle
        assert round_trip(one, b"1") == b"1" and round_trip(two, b"22") == b"22"
        assert len(alice.connections(bob)) == 1
        assert finish(one) == finish(two) == "closed"


def test_b3_one_declined_another_accepted(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="ask:", prefix=True, mode="ask")
    no, yes = (alice.api.send("channel.open", peer=bob.device, uri=uri) for uri in ("ask:no", "ask:yes"))
    bob.api.call("channel.decline", request=bob.api.wait("channel.request", uri="ask:no")[0]["request"], reason="not you")
    there = bob.api.opened(bob.api.send("channel.accept", request=bob.api.wait("channel.request")[0]["request"]))
    with pytest.raises(ApiError) as declined:
        alice.api.reply(no)
    assert (declined.value.reason, declined.value.detail) == ("declined", "not you")
    here = alice.api.opened(yes)
    there.send(b"fine")
    assert here.receive(4) == b"fine"
    assert reason_of(alice.api.open, bob.device, "nobody") == "no-listener"
    here.send(b"still")
    assert there.receive(5) == b"still"
    # The name that was declined may be asked for again.
    later = alice.api.send("channel.open", peer=bob.device, uri="ask:no")
    taken = bob.api.opened(bob.api.send("channel.accept", request=bob.api.wait("channel.request", uri="ask:no")[0]["request"]))
    alice.api.opened(later).send(b"now")
    assert taken.receive(3) == b"now"
    assert len(alice.connections(bob)) == len(bob.connections(alice)) == 1


def test_b5_as_many_as_files_allow(pair):
    """From both sides at once. Ids are not used again yet, only files are: ids are in proto/mux_all_ids_test.cpp."""
    count = as_many_from_each_side(sized(250, 1000, 32_767))
    apps = [ManyChannels(node, peer, count) for node, peer in (pair, pair[::-1])]
    for attempt in range(2):
        for app in apps:
            app.say("open")
        for app in apps:
            app.expect("open", 120 * SCALE)
        assert [node.status()["counts"]["channels"] for node in pair] == [2 * count] * 2
        for app in apps:
            app.say("try")
        for app in apps:
            assert app.expect("right", 120 * SCALE) == str(count)
        until(lambda: [node.status()["counts"]["channels"] for node in pair] == [0, 0], 60 * SCALE, "all have ended")
        print(f"round {attempt}: {count} channels from each side")
    for app in apps:
        app.end()


class ManyChannels(Puppet):
    """many_channels.py: the channels of one node."""

    def __init__(self, node, peer, count):
        super().__init__(node.lab, f"many-{node.name}", sys.executable, MANY_CHANNELS, node.socket_path, peer.device, count)
        self.expect("listens")


def opened_or_no_room(alice, bob):
    try:
        return alice.api.open(bob.device, "again")
    except ApiError as error:
        assert error.reason == "resource-limit"
        return None


@pytest.mark.parametrize("limited", ["opener", "acceptor"])
def test_b5_beyond_the_limit(lab, limited):
    # max_channels is derived from the limit of files: 64 kept in reserve.
    files = {"nofile": 400}
    alice = lab.node("alice", **(files if limited == "opener" else {})).start()
    bob = lab.node("bob", **(files if limited == "acceptor" else {})).start()
    bob.allow(alice)
    limit = (alice if limited == "opener" else bob).status()["limits"]["max_channels"]
    assert 50 < limit < 400
    with Echo(bob, ""):
        channels = [alice.api.open(bob.device, str(number)) for number in range(limit)]
        for _ in range(3):
            assert reason_of(alice.api.open, bob.device, "one more") == "resource-limit"
        assert all(round_trip(channel, b"alive") == b"alive" for channel in channels)
        # Room for one is room for one.
        channels.pop().close()
        until(lambda: [n.status()["counts"]["channels"] for n in (alice, bob)] == [limit - 1] * 2, 20 * SCALE, "one has ended")
        # The peer's word that the id is free comes a moment after.
        channels.append(until(lambda: opened_or_no_room(alice, bob), 20 * SCALE, "there is room"))
        assert reason_of(alice.api.open, bob.device, "one more") == "resource-limit"
        for channel in channels:
            channel.close()
        again = until(lambda: opened_or_no_room(alice, bob), 20 * SCALE, "there is room once the peer has ended them, too")
        assert round_trip(again, b"again") == b"again"


# Channels of which the sink may not have seen the end yet.
B6_AT_ONCE = 2000


def test_b6_every_byte_before_the_end(pair):
    alice, bob = pair
    sizes = [n * 131 % 65_536 for n in range(sized(200, 500, 32_767))]
    with Sink(bob, "b6") as sink:
        channels = []
        for number, size in enumerate(sizes):
            if number >= B6_AT_ONCE:
                name = f"b6 {number - B6_AT_ONCE}"
                until(lambda name=name: name in sink.complete, 60 * SCALE, f"{name} has come")
                assert sink.complete[name].wait(60 * SCALE)
            channel = alice.api.open(bob.device, f"b6 {number}", strict_end=False)
            channels.append(channel.send(numbered(number, size)))
            channel.close()
        for channel in channels:
            assert channel.end()["reason"] == "closed"
        until(lambda: len(sink.ends) == len(sizes), 60 * SCALE, "the other ends' reports")
    assert [sink.counts[f"b6 {n}"] for n in range(len(sizes))] == sizes
    assert all(sink.sums[f"b6 {n}"].hexdigest() == sha256(numbered(n, size)) for n, size in enumerate(sizes))
    assert set(sink.ends.values()) == {"closed"}


def numbered(number, size):
    """Bytes that no other channel sends."""
    return (struct.pack("!I", number) * (size // 4 + 1))[:size]


def test_b7_interleaved_small_writes(pair):
    alice, bob = pair
    size = sized(4, 20, 20) << 20
    with Sink(bob, "b7") as sink:
        channels = [alice.api.open(bob.device, f"b7 {n}") for n in range(3)]
        data = [os.urandom(size) for _ in channels]
        step = 5_003
        for at in range(0, size, step):
            for channel, bytes_ in zip(channels, data, strict=True):
                channel.send(bytes_[at : at + step])
        for channel in channels:
            channel.finish()
            assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
    assert [sink.sums[f"b7 {n}"].hexdigest() for n in range(3)] == [sha256(d) for d in data]


def test_b8_data_right_after_open_and_before_the_app_reads(pair):
    alice, bob = pair
    alice.api.call("connection.close", peer=bob.device)
    bob.api.call("listen.add", uri="b8", mode="ask")
    request = alice.api.send("channel.open", peer=bob.device, uri="b8", strict_end=True)
    there = bob.api.opened(bob.api.send("channel.accept", request=bob.api.wait("channel.request")[0]["request"]))
    there.send(b"from the acceptor, before the opener knows")
    here = alice.api.opened(request)
    data = os.urandom(200_000)
    here.send(data).finish()
    there.shut()
    assert here.receive_all() == b"from the acceptor, before the opener knows"
    assert here.end()["reason"] == "closed" or there.receive_all() == data
    assert there.receive_all() == data


def test_b9_listener_takes_its_time(lab):
    alice, bob = lab.pair("--keepalive", "1")
    bob.api.call("listen.add", uri="slow", prefix=True, mode="ask")
    wait = sized(4, 4, 10)
    with Echo(bob), Late() as late:
        channel = alice.api.open(bob.device, "echo")
        connection = alice.connections(bob)[0]["connection"]
        began = time.monotonic()
        impatient = alice.api.send("channel.open", peer=bob.device, uri="slow 1", timeout=2)
        patient = alice.api.send("channel.open", peer=bob.device, uri="slow 2", timeout=60)
        asked = {n: bob.api.wait("channel.request", uri=f"slow {n}")[0]["request"] for n in (1, 2)}
        assert reason_of(alice.api.reply, impatient) == "timed-out"
        assert 1.9 <= time.monotonic() - began < 2 + SCALE + late.seconds
        over = bob.api.wait("channel.request_cancelled", request=asked[1])[0]
        assert over["reason"] in ("cancelled", "timed-out")  # the peer gave up; why, is the peer's word
        assert reason_of(bob.api.call, "channel.accept", request=asked[1]) == "not-found"
        while time.monotonic() - began < wait:
            # Nothing but keepalives for a while, both ways; then a round trip.
            records = alice.status()["metrics"]["tls_records_in"]
            until(lambda: alice.status()["metrics"]["tls_records_in"] > records, 20 * SCALE, "a keepalive")
            assert round_trip(channel, b"not held up") == b"not held up"
            assert [c["connection"] for c in alice.connections(bob)] == [connection]
        assert not alice.api.replies.get(patient)
        there = bob.api.opened(bob.api.send("channel.accept", request=asked[2]))
        here = alice.api.opened(patient)
        there.send(b"late")
        assert here.receive(4) == b"late"
        assert [c["connection"] for c in alice.connections(bob)] == [connection]


NAMES = ["", "a", "x" * MAX_NAME, "é" * (MAX_NAME // 2), "nul\0inside", "\x1b[31mred\r\n", "file://ä/\U0001f600", '"\\']


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_b10_names_that_are_legal(pair, number):
    alice, bob = pair
    name = NAMES[number]
    bob.api.call("listen.add", uri=name)
    here = alice.api.open(bob.device, name)
    there = bob.api.incoming()
    assert there.uri == name
    here.send(b"named")
    assert there.receive(5) == b"named"
    assert "\x1b" not in alice.process.log() and "\x1b" not in bob.process.log()


@contextlib.contextmanager
def frozen(node):
    node.freeze()
    try:
        yield
    finally:
        node.thaw()


def test_b10_names_that_are_not(pair):
    alice, bob = pair
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        # It fails here, whatever the peer does.
        with frozen(bob):
            for name in ("x" * (MAX_NAME + 1), "é" * (MAX_NAME // 2) + "x"):
                refused = reason_of(alice.api.call, "channel.open", timeout_s=5 * SCALE, peer=bob.device, uri=name, timeout=60)
                assert refused == "invalid-argument"  # -32602
        # Half a surrogate pair is JSON, but no UTF-8 can say it.
        line = '{"jsonrpc":"2.0","id":"half","method":"channel.open","params":{"peer":"%s","uri":"\\ud800"}}' % bob.device
        alice.api.send_line(line.encode())
        reply, _ = alice.api.message_for(None)  # a line that cannot be read has no id
        assert reply["error"]["data"]["reason"] == "invalid-argument"
        assert round_trip(channel, b"no harm") == b"no harm"


class Greeter(Echo):
    """Writes the uri as soon as a channel is there."""

    def opened(self, channel):
        super().opened(channel)
        self.kept[channel.handle][0] += channel.uri.encode()
        try:
            self.serve(channel, 0)
        except OSError:
            pass  # gone already


def test_b13_cancelled_and_asked_again_at_once(pair):
    alice, bob = pair
    with Greeter(bob, "b13"):
        alice.api.open(bob.device, "b13 first").close()
        for number in range(30):
            old, new = f"b13 old {number}", f"b13 new {number}"
            first = alice.api.send("channel.open", peer=bob.device, uri=old)
            alice.api.send("channel.cancel", id=first)
            again = alice.api.open(bob.device, new)
            assert again.receive(len(new)) == new.encode()
            assert round_trip(again, b"mine") == b"mine"
            again.finish()
            assert again.receive_all() == b"" and again.end()["reason"] == "closed"
            again.close()
            try:
                opened = alice.api.opened(first)
                assert opened.receive(len(old)) == old.encode()
                opened.close()
            except ApiError as error:
                assert error.reason == "cancelled"


def test_bulk_both_ways_at_once(pair):
    alice, bob = pair
    size = sized(8, 64, 1000) << 20
    bob.api.call("listen.add", uri="bulk")
    here = alice.api.open(bob.device, "bulk", strict_end=False)
    there = bob.api.incoming()
    senders = [Sender(here, size), Sender(there, size)]
    got = {}

    def take(name, channel):
        got[name] = sha256(channel.receive(size, 120))

    takers = [threading.Thread(target=take, args=("here", here)), threading.Thread(target=take, args=("there", there))]
    for thread in senders + takers:
        thread.start()
    for thread in senders + takers:
        thread.join(120)
    assert got == {"here": senders[1].digest, "there": senders[0].digest}
    poller = select.poll()
    poller.register(here.sock, select.POLLIN)
    assert not poller.poll(0), "more than was sent"
