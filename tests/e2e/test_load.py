# SPDX-License-Identifier: GPL-3.0-or-later
"""One daemon with many peers, each with an identity, ICE, TLS and a mux of its own (tests/peer/load_peers.cpp)."""
import os

from harness import BUILD, FILES, SANITIZER, SCALE, sized, until
from puppet import Puppet
from traffic import Echo

PEERS = os.environ.get("CONND_LOAD_PEERS") or str(BUILD / "tests/peer/load_peers")
LANES = 24  # the daemon sets up 32 at a time
DHT_STORE = 16 << 20  # a node keeps so much of what others put (requests, for ten minutes)


def load_peers(lab, node, count):
    """`count` peers of `node`, which allows them; their device ids."""
    chain = lab.directory / "chain.pem"
    chain.write_text(node.api.call("identity.show")["chain"])
    directory = os.environ.get("CONND_E2E_CACHE") or BUILD
    load = Puppet(lab, "load_peers", PEERS, lab.dht_address(), f"{directory}/load-identities", chain, count)
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
