# SPDX-License-Identifier: GPL-3.0-or-later
"""One daemon with many peers, each with an identity, ICE, TLS and a mux of its own (tests/peer/load_peers.cpp); and with
strangers who send it requests (tests/peer/junk_peers.cpp)."""
import os
import statistics
import time

from harness import BUILD, FILES, FULL, NET, SANITIZER, SCALE, Late, run, sized, until
from puppet import Puppet
from traffic import Echo, Sender, round_trip

PEERS = os.environ.get("CONND_LOAD_PEERS") or str(BUILD / "tests/peer/load_peers")
STRANGERS = os.environ.get("CONND_JUNK_PEERS") or str(BUILD / "tests/peer/junk_peers")
LANES = 24  # the daemon sets up 32 at a time
# OpenDHT keeps packets to use them again, at most 65,536 of 1.5 kB (opendht/network_utils.h); and what else waits.
MAX_GROWTH = 128 << 20
DHT_STORE = 16 << 20  # a node keeps so much of what others put (requests, for ten minutes)


def chain_of(lab, node):
    chain = lab.directory / f"{node.name}.chain"
    chain.write_text(node.api.call("identity.show")["chain"])
    return chain


def load_peers(lab, node, count):
    """`count` peers of `node`, which allows them; their device ids."""
    directory = os.environ.get("CONND_E2E_CACHE") or BUILD
    load = Puppet(lab, "load_peers", PEERS, lab.dht_address(), f"{directory}/load-identities", chain_of(lab, node), count)
    load.expect("ready", 300 * SCALE)  # keys are made once
    load.say("ids").expect("ids")
    devices = [load.expect("id ") for _ in range(count)]
    for device in devices:
        node.api.call("trust.allow", id=device)
    return load, devices


def all_of(load, word, count, timeout, *command):
    """Says the command; all of `count` have to succeed. The seconds that it took."""
    load.say(*command)
    done, seconds = load.expect(word, timeout).split()
    assert int(done) == count, f"{word} {done} of {count}: {[line for line in load.lines if line.startswith('error')][:8]}"
    return float(seconds)


def test_many_peers_at_once(lab):
    """All connect, all their channels carry data at once; then they leave, and nothing is left. Twice."""
    count, further = sized((10, 2), (60, 4), (1_000, 5))
    count = min(count, FILES // 25)  # load_peers holds both ends of its channels, and ICE's sockets meanwhile
    channels = count * (1 + further)
    node = lab.node("alice").start()
    left = []
    with Echo(node):
        for _ in range(2):
            load, devices = load_peers(lab, node, count)
            idle = node.rss()
            connecting = all_of(load, "connected", count, 600 * SCALE, "connect", "echo", LANES)
            connections = node.api.call("connection.list")["connections"]
            assert {c["peer"] for c in connections} == set(devices) and len(connections) == count
            assert all(c["state"] == "connected" and c["channels"] == 1 for c in connections)
            connected = node.rss()
            opening = all_of(load, "opened", count * further, 120 * SCALE, "open", "echo", further)
            assert node.status()["counts"]["channels"] == channels
            echoing = all_of(load, "echoed", channels, 300 * SCALE, "echo", 4096)
            print(f"{count} peers connected in {connecting:.1f} s, {count * further} further channels opened in {opening:.2f} s, "
                  f"4 KiB on each of {channels} and back in {echoing:.2f} s; {(connected - idle) // count >> 10} KiB a peer")
            load.say("close").expect("closed")
            until(lambda: not node.status()["counts"]["channels"], 60 * SCALE, "the channels have ended")
            all_of(load, "left", count, 60 * SCALE, "leave")
            until(lambda: not node.connections(), 60 * SCALE, "the connections have ended")
            load.end()
            if left:
                until(lambda: node.fds() <= left[0] * 1.05, 20 * SCALE, f"it has {node.fds()} descriptors, not {left[0]}")
                # Freed memory goes back to the kernel at the next tick.
                bound = left[1] * 1.05 + DHT_STORE
                until(lambda: SANITIZER or node.rss() <= bound, 20, f"{node.rss()} bytes of memory, not {bound:.0f}")
            left = [node.fds(), node.rss()]
            print(f"afterwards: {left[0]} descriptors, {left[1] >> 20} MiB")


def strangers(lab, node, count, requests):
    """`count` of them, each with an address of its own, who have `requests` ready for `node`."""
    addresses = [f"{NET}{200 + n}" if lab.hub else f"127.0.1.{n + 1}" for n in range(count)]
    for address in addresses if lab.hub else []:
        run("ip", "-n", lab.hub, "addr", "add", f"{address}/24", "dev", "br0")
    junk = Puppet(lab, "junk_peers", STRANGERS, f"{node.address}:{node.status()['dht']['port']}", chain_of(lab, node),
                  requests, *addresses)
    junk.expect("sealed", 300 * SCALE)
    junk.expect("connected")
    return junk


def test_f6_junk_requests_from_strangers(lab):
    """A thousand a second by devices that nobody knows: no ICE, bounded memory, and a channel goes on."""
    rate, burst, bursts = sized((50, 2, 1), (1_000, 2, 2), (1_000, 10, 6))  # a minute of it in a full run
    # A key as long as the daemon makes it: opening a request takes ten times as long as with the tests' short ones.
    alice = lab.node("alice", identity_number="none" if FULL else None).start()
    bob = lab.node("bob").start()
    alice.allow(bob)
    events = alice.client("events")
    events.call("events.subscribe")
    junk = strangers(lab, alice, 12, rate * burst * bursts)  # OpenDHT takes up to 200 requests a second of an address
    with Echo(alice, peers="any"):
        channel = bob.api.open(alice.device, "echo")
        size = 8 << 20

        def megabytes_a_second(seconds):
            """Of each piece, there and back, for so long."""
            began, rates = time.monotonic(), []
            while (before := time.monotonic()) < began + seconds:
                sender = Sender(channel, size)
                sender.start()
                assert len(channel.receive(size, 120 * SCALE)) == size
                sender.join(60)
                rates.append((size >> 20) / (time.monotonic() - before))
            return rates

        calm, busy = megabytes_a_second(burst), []
        rss = alice.rss()
        for _ in range(bursts):  # in turn: whatever else the machine does, it does to both
            with Late() as late:
                junk.say("send", rate, rate * burst)
                busy += megabytes_a_second(burst)
                sent, seconds = junk.expect("sent", 60 * SCALE).split()
                assert int(sent) == rate * burst and float(seconds) < 1.2 * burst * SCALE + late.seconds, (sent, seconds)
            calm += megabytes_a_second(burst)
        kept = statistics.median(busy) / statistics.median(calm)
        metrics = alice.status()["metrics"]
        heard = sum(metrics[f"dht_requests_{what}"] for what in ("received", "ignored", "dropped"))
        print(f"{rate} requests a second, {rate * burst * bursts} in all, of which {heard} came and {metrics['dht_requests_received']} were "
              f"looked into; {statistics.median(calm):.0f} MB/s without, {kept:.2f} of that beside them; "
              f"{(alice.rss() - rss) >> 10} KiB more memory")
        # OpenDHT takes 200 requests a second from an address; what is sent again, for its answer was late, counts.
        assert heard > rate * burst * bursts * 0.7
        assert not FULL or kept >= 0.8
        assert SANITIZER or alice.rss() - rss < MAX_GROWTH
        events.sync()
        told = events.taken("event")
        refused = [e for e in told if e["type"] == "request.refused"]
        assert refused and all(e["reason"] == "not-permitted" for e in refused), refused[:3]
        assert {e["peer"] for e in told if e["type"] == "connection.connecting"} <= {bob.device}
        assert round_trip(channel, b"still") == b"still"
        channel.close()
    junk.end()
