# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS A1 and A2: what anyone who can send a datagram can do to a daemon, and with it to others."""
import os
import random
import socket
import struct
import threading
import time

import pytest
from api_client import Deadline
from dht_wire import Sniffer, Stranger, forged, pack, parts, query, unpack, value
from harness import FULL, NET, SCALE, Lab, inside, sized, until
from traffic import Echo, round_trip

LAN_PORT, LAN_GROUP = 8888, "239.192.0.1"
PAYLOAD = 60_000
VALUES = 24


def dropped(node):
    """How many datagrams went no further, by reason; those that came, not those that were to be sent."""
    return {name: count for name, count in node.status()["metrics"].items() if name.startswith("dht_dropped_") and count}


def metric(node, name):
    return node.status()["metrics"][name]


def dht_place(node):
    return (node.address, node.status()["dht"]["port"])


def node_id():
    return os.urandom(20)


def poison():
    """Datagrams that OpenDHT 2.4.12 dies of, reads beyond its memory for, or asks for gigabytes; and their neighbours."""
    good = {"id": node_id()}
    yield bytes.fromhex("83a16590a179a165a17401")  # an error without a code
    yield pack({"a": os.urandom(48), "q": "ping", "t": 1, "y": "q"})  # a request that is no map: read at an address of ours
    yield pack({"u": {"id": node_id()}, "a": 5, "t": 1, "y": "q", "q": "update"})
    yield pack({"a": 7, "q": "update", "t": 1, "y": "q"})
    for request in (5, "text", None, True, [1, 2], b""):
        for name in ("a", "r", "u"):
            yield pack({name: request, "q": "find", "t": 1, "y": "q" if name == "a" else "r"})
        yield pack({"e": request, "y": "e", "t": 1})
    yield pack({"e": ["text"], "y": "e", "t": 1})
    for part in (5, None, "text", [1], b"bytes", {}, {"o": "x", "d": b""}, {"o": 1 << 40, "d": b"1"}, {"o": 0, "d": 9}):
        yield pack({"p": {0: part}, "t": 1})
        yield pack({"p": {1 << 63: part}, "t": 1})
    yield pack({"p": 1, "t": 1})
    for fields in (5, [], {"f": [], "v": [1]}, {"f": 1, "v": 2}, {"f": [1 << 60], "v": [1]}):
        yield pack({"r": {**good, "fileds": fields}, "t": 1, "y": "r"})
    for name, wrong in (("n4", b"1" * 25), ("n6", b"1" * 37), ("sa", b"123"), ("values", 5),
                        ("token", 5), ("exp", 5), ("re", [b""]), ("id", b"short"), ("h", 5), ("vid", "x"), ("sid", []), ("w", 5), ("w", ["x"]),
                        ("q", 5), ("q", {"s": 5}), ("q", {"w": [5]}), ("c", "then"), ("target", b"")):
        yield pack({"a": {**good, "h": node_id(), name: wrong}, "q": "get", "t": 1, "y": "q"})
        yield pack({"r": {**good, name: wrong}, "t": 1, "y": "r"})
    yield b"\xdd\xff\xff\xff\xff"  # an array of 2^32 - 1
    yield b"\xdf\xff\xff\xff\xff"
    yield b"\x81\xa1a\xc6\xff\xff\xff\xff"
    yield b"\x91" * 5000  # nested
    yield b"\xc1"
    yield b"\x01"
    ping = query("ping", good, 1)
    yield ping + b"\x00"
    for cut in range(1, len(ping), 7):
        yield ping[:cut]
    yield pack({5: 6})
    yield pack({"y": 1, "q": "ping", "t": 1, "a": good})
    yield pack({"y": "q", "q": "nothing", "t": 1, "a": good})
    yield pack({"y": "q", "q": "ping", "t": [], "a": good})


def odd():
    """What is out of the ordinary, and what OpenDHT takes in its stride."""
    good = {"id": node_id()}
    yield pack({"r": {**good, "fileds": {"f": [1], "v": []}}, "t": 1, "y": "r"})
    for values in ([1 << 40], [{"id": 1, "dat": 3}]):
        yield pack({"a": {**good, "h": node_id(), "values": values}, "q": "get", "t": 1, "y": "q"})
        yield pack({"r": {**good, "values": values}, "t": 1, "y": "r"})


def strangers_place(lab):
    return lab.hub  # in loopback mode None: here


def test_fault_a1_datagrams_that_end_opendht(lab):
    alice, bob = lab.pair()
    alice.junk = True
    carol = lab.node("carol").start()
    carol.allow(alice)
    alice.allow(carol)
    with Echo(alice, "echo"), Echo(bob, "echo"):
        before = alice.api.open(bob.device, "echo")
        assert round_trip(before, b"before") == b"before"
        came = metric(alice, "dht_received")
        with Stranger(dht_place(alice), strangers_place(lab)) as stranger:
            sent = 0
            for datagram in poison():
                stranger.send(datagram)
                sent += 1
                if sent % 10 == 0:  # each is read before there are too many for the socket
                    until(lambda: metric(alice, "dht_received") >= came + sent, 10 * SCALE, "the datagrams are read")
            until(lambda: sum(dropped(alice).values()) == sent, 10 * SCALE, "all are dropped")
            for datagram in odd():
                stranger.send(datagram)
            assert stranger.ask("ping", {})["r"], "a node that behaves is answered at the same address"
        assert alice.process.running()
        assert round_trip(before, b"after") == b"after"
        assert round_trip(carol.api.open(alice.device, "echo"), b"first") == b"first"
    assert sum(dropped(bob).values()) == sum(dropped(carol).values()) == 0


@pytest.mark.parametrize("inside_of_value", [
    5, [1], {"id": 1, "dat": 5}, {"id": 1, "dat": {"body": 5}}, {"id": 1, "dat": {"body": {"type": 1, "data": 5}}},
    {"id": 1, "dat": {"body": {"type": 3, "data": b"x", "owner": 7}, "sig": b"y"}}, {"dat": b""}, {"id": "x", "dat": b""},
], ids=range(8))
def test_fault_a1_parts_that_make_poison(shared_node, inside_of_value):
    """What is put together is looked at as if it had come in one piece."""
    lab, alice = shared_node
    before = metric(alice, "dht_dropped_values")
    packed = pack(inside_of_value)
    with Stranger(dht_place(alice), strangers_place(lab)) as stranger:
        key = node_id()
        token = stranger.token(key)
        number = stranger.next()
        stranger.send(query("put", {"id": stranger.id, "h": key, "values": [len(packed)], "token": token}, number))
        for part in parts(packed, number, size=max(1, len(packed) // 3)):
            stranger.send(part)
        until(lambda: metric(alice, "dht_dropped_values") == before + 1, 10 * SCALE, "it is dropped")
        assert stranger.ask("ping", {})["r"]
        # And what is in order goes through the same way.
        whole = value(7, b"fine" * 500)
        assert "r" in stranger.put(key, token, whole)
        assert unpack(whole) in fetched(stranger, key)


@pytest.fixture(scope="module")
def shared_node():
    with Lab() as lab:
        alice = lab.node("alice").start()
        alice.junk = True
        yield lab, alice


def fetched(stranger, key):
    """What is kept under a key, as one who asks for it gets it."""
    answer = stranger.ask("get", {"h": key})
    out, waiting, data = [], {}, {}
    for index, item in enumerate(answer["r"].get("values", [])):
        if isinstance(item, int):
            waiting[index], data[index] = item, bytearray()
        else:
            out.append(item)
    deadline = Deadline(10 * SCALE)
    while any(len(data[index]) < size for index, size in waiting.items()) and not deadline.passed():
        message = stranger.receive(1)
        for index, part in (message or {}).get("p", {}).items():
            data[index] += part["d"]
    return out + [unpack(bytes(packed)) for index, packed in data.items() if len(packed) == waiting[index]]


def test_fault_a1_lan_discovery_takes_no_garbage(netns):
    """Strangers shout on the LAN; the daemons find each other by the same multicast nevertheless."""
    with Lab(dht=False) as lab:
        alice = lab.node("alice", bootstrap=[], lan_discovery=True).start(ready=False)
        bob = lab.node("bob", bootstrap=[], lan_discovery=True)
        shouts = [b"", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 1000, os.urandom(1400), pack({"dht": 5}), pack({"dht": []}),
                  pack({"dht": [b"x", 1, 0]}), pack({"dht": [node_id(), "port", 0]}), pack({"dht": [node_id(), 1 << 40, 0]}), pack({5: 6}), pack("x")]
        sock = inside(lab.hub, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(f"{NET}1"))
            until(lambda: "lan_received" in alice.status()["metrics"], 10 * SCALE, "the network has begun")
            before = metric(alice, "lan_received")
            for _ in range(20):
                for shout in shouts:
                    sock.sendto(shout, (LAN_GROUP, LAN_PORT))
                    sock.sendto(shout, (alice.address, LAN_PORT))
            until(lambda: metric(alice, "lan_received") > before, 10 * SCALE, "some of it is heard")
            bob.start(ready=False)
            alice.wait_ready(60 * SCALE)
            bob.wait_ready(60 * SCALE)
        assert metric(alice, "lan_dropped") > 0
        assert metric(alice, "lan_nodes") + metric(bob, "lan_nodes") > 0
        bob.allow(alice)
        with Echo(bob):
            assert round_trip(alice.api.open(bob.device, "echo"), b"lan") == b"lan"


# ---- A2 ----


def fill(stranger, key, count=VALUES, size=PAYLOAD):
    token = stranger.token(key)
    for number in range(1, count + 1):
        # Who puts is not told whether it was kept.
        assert "r" in stranger.put(key, token, value(number, os.urandom(size)))


def test_fault_a2_a_forged_source_gets_no_more_than_three_times_what_was_sent_in_its_name(netns):
    with Lab() as lab:
        alice = lab.node("alice", "--dht-max-value", "64").start()
        place, key = dht_place(alice), node_id()
        with Stranger(place, lab.hub) as stranger:
            fill(stranger, key)
        until(lambda: alice.status(), 5, "alice lives")
        victim_space = lab.add_namespace("victim", 90)
        victim = (f"{NET}100", 4444)
        raw = inside(lab.hub, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        with raw, Sniffer(victim_space, "eth0", lambda source, target: source == place and target == victim) as sniffer:
            asked = 0
            for number in range(5):
                datagram = query("get", {"id": node_id(), "h": key}, 100 + number)
                raw.sendto(forged(victim, place, datagram), (place[0], 0))
                asked += len(datagram)
                time.sleep(0.3)  # no event tells that nothing comes
            time.sleep(2)
            got = sum(len(payload) for _, _, payload in sniffer.seen)
        print(f"{asked} bytes in the name of an address brought it {got} bytes: {got / asked:.1f} times")
        assert got <= 3 * asked
        assert metric(alice, "dht_held") > 0


def test_fault_a2_a_node_that_answers_gets_its_large_answer(lab):
    alice = lab.node("alice", "--dht-max-value", "64").start()
    key = node_id()
    with Stranger(dht_place(alice), strangers_place(lab)) as stranger:
        fill(stranger, key, count=8)
    with Stranger(dht_place(alice), strangers_place(lab)) as fresh:
        assert len(fetched(fresh, key)) == 8
        print(f"{fresh.sent} bytes sent, {fresh.got} bytes got")
    assert metric(alice, "dht_pongs") > 0


def test_fault_a2_values_kept_for_others_are_small(shared_node):
    lab, alice = shared_node
    key = node_id()
    with Stranger(dht_place(alice), strangers_place(lab)) as stranger:
        token = stranger.token(key)
        small, large = value(1, os.urandom(15_000)), value(2, os.urandom(17_000))
        assert "r" in stranger.put(key, token, large)
        assert "r" in stranger.put(key, token, small)
        assert [v["id"] for v in fetched(stranger, key)] == [1]


def test_fault_a2_nothing_is_kept_for_others_but_those_of_the_lan(netns):
    public, here = "203.0.113.", "203.0.113.7"
    with Lab() as lab:
        alice = lab.node("alice", "--dht-keep-nothing").start()
        alice.add_address(here + "/24")
        space = lab.add_namespace("public", 90)
        inside(space, lambda: os.system(f"ip addr flush dev eth0 && ip addr add {public}9/24 dev eth0"))
        port = alice.status()["dht"]["port"]
        key = node_id()
        with Stranger((here, port), space) as far, Stranger((alice.address, port), lab.hub) as near:
            assert "r" in far.put(key, far.token(key), value(1, b"from afar"))
            assert "r" in near.put(key, near.token(key), value(2, b"from the LAN"))
            assert [v["id"] for v in fetched(near, key)] == [2]
            assert [v["id"] for v in fetched(far, key)] == [2]


# ---- for a while ----


def mutated(generator, seeds):
    """A datagram of real nodes with something changed."""
    data = bytearray(generator.choice(seeds))
    for _ in range(generator.randint(1, 4)):
        kind, at = generator.randrange(5), generator.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] = generator.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << generator.randrange(8)
        elif kind == 2:
            del data[at:at + generator.randint(1, 8)]
        elif kind == 3:
            data[at:at] = generator.randbytes(generator.randint(1, 8))
        else:
            other = generator.choice(seeds)
            start = generator.randrange(len(other))
            data[at:at + generator.randint(0, 30)] = other[start:start + generator.randint(1, 60)]
    return bytes(data[:65_000])


class Junk(threading.Thread):
    """Sends mutated datagrams, so many a second, until it is told to end."""

    def __init__(self, target, namespace, seeds, rate):
        super().__init__(daemon=True)
        self.stranger, self.seeds, self.rate = Stranger(target, namespace), seeds, rate
        self.over, self.count = threading.Event(), 0
        self.generator = random.Random(16)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(60 * SCALE)
        self.stranger.sock.close()

    def run(self):
        begun = time.monotonic()
        while not self.over.wait(max(0.0, begun + self.count / self.rate - time.monotonic())):
            for _ in range(20):
                self.stranger.send(mutated(self.generator, self.seeds))
                self.count += 1


def moved(channel, seconds):
    """Bytes a second, there and back by an echo."""
    chunk, amount, begun = os.urandom(1 << 16), 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        assert round_trip(channel, chunk) == chunk
        amount += len(chunk)
    return amount / (time.monotonic() - begun)


def test_fault_a1_mutated_datagrams_beside_channels(lab):
    alice, bob = lab.pair()
    alice.junk = True
    seeds = [datagram for datagram in poison() if datagram] + [query("get", {"id": node_id(), "h": node_id()}, 5), query("find", {"id": node_id(), "target": node_id(), "w": [2]}, 6)]
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        moved(channel, 1)
        alone, beside, until_then = [], [], time.monotonic() + sized(1, 3, 600)
        while not alone or time.monotonic() < until_then:
            # Turn by turn, so that what else this machine does hits both.
            alone.append(moved(channel, sized(1, 1, 5)))
            with Junk(dht_place(alice), strangers_place(lab), seeds, 5_000) as junk:
                beside.append(moved(channel, sized(1, 2, 25)))
            assert junk.count > 100
        share = sum(beside) / len(beside) / (sum(alone) / len(alone))
        print(f"{share:.2f} of {sum(alone) / len(alone) / 1e6:.0f} MB/s beside {junk.rate} datagrams a second; dropped {dropped(alice)}")
        assert sum(dropped(alice).values()) > 100
        assert round_trip(channel, b"after") == b"after"
        if FULL:
            assert share >= 0.9
