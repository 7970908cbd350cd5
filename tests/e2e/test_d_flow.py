# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS D: flow."""
import os
import time

import pytest
from harness import FULL, SANITIZER, SCALE, sha256, sized
from traffic import Echo, Sender, Sink, fill, round_trip

# proto/limits.h: a channel's window at most; and what the kernel's buffers and one turn of each daemon hold beside it.
MAX_WINDOW = 4 << 20
BUFFERS = 2 << 20
# The issue, "Shows": a slow reader costs each daemon less than this.
MAX_GROWTH = 16 << 20


def throughput(channels):
    """Bytes a second, there and back, over all of them; the best of three."""
    data, took = os.urandom(100_000), []
    for _ in range(3):
        start = time.monotonic()
        for channel in channels:
            channel.send(data)
        for channel in channels:
            assert channel.receive(len(data)) == data
        took.append(time.monotonic() - start)
    return len(channels) * len(data) / min(took)


def test_d1_app_that_never_reads(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="stuck")
    with Echo(bob):
        warm = alice.api.open(bob.device, "echo warm")
        for _ in range(50):
            round_trip(warm, os.urandom(100_000))
        before = [node.rss() for node in pair]
        channels = [alice.api.open(bob.device, f"echo {n}") for n in range(100)]
        free = throughput(channels)
        stuck = alice.api.open(bob.device, "stuck")
        there = bob.api.incoming()
        taken, digest = fill(stuck.sock, 1.0 * SCALE)
        assert 64 << 10 <= taken <= MAX_WINDOW + BUFFERS, taken
        data = os.urandom(200_000)
        for channel in channels:
            sender = Sender(channel, None)
            sender.block, sender.total = data, len(data)
            sender.start()
            assert channel.receive(len(data)) == data
            sender.join(20)
        beside = throughput(channels)
        growth = [node.rss() - size for node, size in zip(pair, before, strict=True)]
        print(f"stuck at {taken}, growth {growth}; 100 channels at {beside / free:.2f} of what they do without it")
        if FULL:  # alone on the machine
            assert beside >= 0.9 * free
        if not SANITIZER:
            assert max(growth) < MAX_GROWTH, growth
        stuck.finish()
        assert sha256(there.receive_all()) == digest.hexdigest()
        there.shut()
        assert stuck.receive_all() == b"" and stuck.end()["reason"] == "closed"


def test_slow_reader_gets_everything(pair):
    """The issue's "slow reader", scaled down: a slow start, then all."""
    alice, bob = pair
    size = sized(16, 256, 2000) << 20
    bob.api.call("listen.add", uri="slow")
    with Echo(bob):
        other = alice.api.open(bob.device, "echo")
        round_trip(other, b"warm")
        before = [node.rss() for node in pair]
        here = alice.api.open(bob.device, "slow")
        there = bob.api.incoming()
        sender = Sender(here, size)
        sender.start()
        first = b""
        for _ in range(20):  # a small piece, then work elsewhere
            first += there.receive(50_000)
            data = os.urandom(200_000)
            assert round_trip(other, data) == data
        growth = [node.rss() - rss for node, rss in zip(pair, before, strict=True)]
        if not SANITIZER:
            assert max(growth) < MAX_GROWTH, growth
        import hashlib

        total = hashlib.sha256(first)
        left = size - len(first)
        while left:
            part = there.receive(min(left, 1 << 20))
            assert part
            total.update(part)
            left -= len(part)
        sender.join(60)
        assert total.hexdigest() == sender.digest
        growth = [node.rss() - rss for node, rss in zip(pair, before, strict=True)]
        if not SANITIZER:
            assert max(growth) < MAX_GROWTH, growth


def median_round_trip(channel, rounds):
    took = []
    for _ in range(rounds):
        start = time.monotonic()
        assert round_trip(channel, b"ping" * 8) == b"ping" * 8
        took.append(time.monotonic() - start)
    return sorted(took)[rounds // 2]


def test_d3_round_trips_beside_bulk(pair):
    """The number is for people; the bound only says that a small channel does not wait for whole windows."""
    alice, bob = pair
    with Echo(bob), Sink(bob):
        ping = alice.api.open(bob.device, "echo")
        idle = median_round_trip(ping, 300)
        bulk = alice.api.open(bob.device, "sink")
        sender = Sender(bulk, None)
        sender.start()
        busy = median_round_trip(ping, 300)
        bulk.sock.shutdown(2)
        sender.join(20)
    print(f"round trip: idle {idle * 1e6:.0f} us, beside bulk {busy * 1e6:.0f} us")
    assert busy < 0.25 * SCALE


@pytest.mark.parametrize("count", [1, 10, 100])
def test_d4_bulk_channels_share_fairly(pair, count):
    alice, bob = pair
    names = [f"d4 {count} {n}" for n in range(count)]
    with Sink(bob, f"d4 {count} ") as sink:
        channels = [alice.api.open(bob.device, name) for name in names]
        senders = [Sender(channel, None) for channel in channels]
        for sender in senders:
            sender.start()
        # Shares count from when all flow: whoever starts first has a lead that says nothing.
        counts_when(sink, count, senders[0], lambda counts: min(counts) >= 1 << 20)
        before = [sink.counts[name] for name in names]
        total = sum(before) + (sized(150, 300, 1000) << 20)
        counts_when(sink, count, senders[0], lambda counts: sum(counts) >= total)
        counts = [sink.counts[name] - start for name, start in zip(names, before, strict=True)]
        for channel in channels:
            channel.sock.shutdown(2)
        for sender in senders:
            sender.join(20)
    jain = sum(counts) ** 2 / (len(counts) * sum(c * c for c in counts))
    print(f"Jain's index {jain:.4f} over {counts}")
    assert jain > 0.95


def counts_when(sink, count, sender, condition):
    """Waits until `condition` holds of what each channel has brought."""
    deadline = time.monotonic() + 120
    while len(sink.counts) < count or not condition(list(sink.counts.values())):
        assert time.monotonic() < deadline
        sender.join(0.02)
