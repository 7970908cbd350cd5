# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS B: channels."""
import os
import select
import threading

import pytest
from api_client import reason_of
from harness import SCALE, ApiError, as_many_channels, sha256, sized, until
from traffic import Echo, RecordCounter, Sender, Sink, round_trip

MAX_NAME = 65_000


def finish(channel):
    """Ends a channel whose other side ends after us; its `channel.closed` reason."""
    channel.finish()
    rest = channel.receive_all()
    assert rest == b""
    reason = channel.end()["reason"]
    channel.close()
    return reason


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
    for number in range(1, 9):
        channels += [alice.api.open(bob.device, f"b1 {number}"), bob.api.incoming(uri=f"b1 {number}")]
        counter.wait_for(number, number, 5 * SCALE)
        assert len(counter.sent.records) == len(counter.received.records) == number
    # What a request, an answer and their windows are: some dozens of bytes, and 17 of TLS.
    assert all(kind == 23 and length < 120 for kind, length in counter.sent.records + counter.received.records)
    alice.api.sync()
    assert not alice.api.taken("event", type="connection.progress"), "a further handshake"
    assert [c["connection"] for c in alice.connections(bob)] == [handle]
    assert len({channel.handle for channel in channels[::2]}) == len(channels) / 2
    counter.close()


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


def test_b5_as_many_as_files_allow(pair):
    alice, bob = pair
    count = as_many_channels(sized(500, 2000, 9000))
    for attempt in range(2):  # again: ids and fds are used again
        with Echo(bob, "many"):
            requests = [alice.api.send("channel.open", peer=bob.device, uri=f"many {n}") for n in range(count)]
            channels = [alice.api.opened(request, 60 * SCALE) for request in requests]
            assert len({channel.handle for channel in channels}) == count
            sent = [os.urandom(32) for _ in channels]
            for channel, data in zip(channels, sent, strict=True):
                channel.send(data).shut()
            for channel, data in zip(channels, sent, strict=True):
                assert channel.receive_all(60 * SCALE) == data
                channel.close()
            for channel in channels:
                assert channel.end(60 * SCALE)["reason"] == "closed"
        print(f"round {attempt}: {count} channels")


def test_b5_beyond_the_limit(lab):
    # max_channels is derived from the limit of files: 64 kept in reserve.
    alice = lab.node("alice", nofile=400).start()
    bob = lab.node("bob").start()
    bob.allow(alice)
    limit = alice.status()["limits"]["max_channels"]
    assert 50 < limit < 400
    with Echo(bob, ""):
        channels, failed = [], []
        for request in [alice.api.send("channel.open", peer=bob.device, uri=str(n)) for n in range(limit + 40)]:
            try:
                channels.append(alice.api.opened(request))
            except ApiError as error:
                failed.append(error.reason)
        assert len(channels) <= limit and set(failed) == {"resource-limit"}, (limit, len(channels), set(failed))
        assert round_trip(channels[0], b"alive") == b"alive"
        for channel in channels:
            channel.close()
        until(lambda: not alice.status()["counts"]["channels"], 20 * SCALE, "all have ended")
        assert round_trip(alice.api.open(bob.device, "again"), b"again") == b"again"


def test_b6_every_byte_before_the_end(pair):
    alice, bob = pair
    sizes = [n * 131 % 65_536 for n in range(as_many_channels(sized(200, 500, 8000)))]
    with Sink(bob, "b6") as sink:
        channels = []
        for number, size in enumerate(sizes):
            channel = alice.api.open(bob.device, f"b6 {number}", strict_end=False)
            channels.append(channel.send(b"\x07" * size))
            channel.close()
        for channel in channels:
            assert channel.end()["reason"] == "closed"
    assert [sink.counts[f"b6 {n}"] for n in range(len(sizes))] == sizes


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


def test_b9_listener_takes_its_time(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="slow", prefix=True, mode="ask")
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        impatient = alice.api.send("channel.open", peer=bob.device, uri="slow 1", timeout=2)
        patient = alice.api.send("channel.open", peer=bob.device, uri="slow 2", timeout=60)
        asked = {n: bob.api.wait("channel.request", uri=f"slow {n}")[0]["request"] for n in (1, 2)}
        connection = alice.connections(bob)[0]["connection"]
        assert reason_of(alice.api.reply, impatient) == "timed-out"
        over = bob.api.wait("channel.request_cancelled", request=asked[1])[0]
        assert over["reason"] in ("cancelled", "timed-out")  # the peer gave up; why, is the peer's word
        assert reason_of(bob.api.call, "channel.accept", request=asked[1]) == "not-found"
        assert round_trip(channel, b"not held up") == b"not held up"
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


def test_b10_names_that_are_not(pair):
    alice, bob = pair
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        assert reason_of(alice.api.open, bob.device, "x" * (MAX_NAME + 1)) in ("bad-name", "invalid-argument")
        assert reason_of(alice.api.open, bob.device, "é" * (MAX_NAME // 2) + "x") in ("bad-name", "invalid-argument")
        # Half a surrogate pair is JSON, but no UTF-8 can say it.
        line = '{"jsonrpc":"2.0","id":"half","method":"channel.open","params":{"peer":"%s","uri":"\\ud800"}}' % bob.device
        alice.api.send_line(line.encode())
        with pytest.raises((ApiError, TimeoutError)) as caught:
            alice.api.reply("half", 5)
        assert not isinstance(caught.value, TimeoutError) or alice.api.replies.get(None)
        assert round_trip(channel, b"no harm") == b"no harm"


def test_b13_cancelled_and_asked_again_at_once(pair):
    alice, bob = pair
    with Echo(bob, "b13"):
        alice.api.open(bob.device, "b13 first").close()
        for number in range(30):
            uri = f"b13 {number}"
            first = alice.api.send("channel.open", peer=bob.device, uri=uri)
            alice.api.send("channel.cancel", id=first)
            again = alice.api.open(bob.device, uri)
            assert round_trip(again, uri.encode()) == uri.encode()
            again.finish()
            assert again.receive_all() == b"" and again.end()["reason"] == "closed"
            again.close()
            try:
                opened = alice.api.opened(first)
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
