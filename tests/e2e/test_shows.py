# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon costs: time of a first open, memory when idle. The numbers are printed; limits hold for ordinary
builds."""
import statistics
import time

from harness import READY_SECONDS, SANITIZER, Lab, Late, sized, until
from traffic import Echo, round_trip

PAIRS_AT_ONCE = 4
UP_SECONDS = 10
FIRST_OPEN_SECONDS = 0.3
IDLE_RSS = 40 << 20


def first_opens(pairs):
    """Seconds that each took; all stay up, for a DHT of nodes that are gone answers slowly."""
    took = []
    for alice, bob in pairs:
        bob.allow(alice)
        with Echo(bob), Late() as late:
            start = time.monotonic()
            channel = alice.api.open(bob.device, "echo")
            took.append(time.monotonic() - start - late.seconds)
            assert round_trip(channel, b"first") == b"first"
    return took


def fresh_pairs(lab):
    """Pairs that have never met, of daemons that are up for a while."""
    nodes = [lab.node(f"n{n}") for n in range(2 * PAIRS_AT_ONCE)]
    for node in nodes:
        node.start(ready=False)
    for node in nodes:
        node.wait_ready(2 * READY_SECONDS)
    until(lambda: all(node.status()["uptime_s"] >= UP_SECONDS for node in nodes), 60, "up for ten seconds")
    return list(zip(nodes[::2], nodes[1::2], strict=True))


def test_median_first_open(netns):
    took = []
    for _ in range(sized(1, 2, 5)):
        with Lab() as lab:
            took += first_opens(fresh_pairs(lab))
    print("first opens, ms:", sorted(round(seconds * 1000) for seconds in took))
    if not SANITIZER:
        assert statistics.median(took) < FIRST_OPEN_SECONDS


def test_idle_memory(lab):
    alice, bob = lab.pair()
    with Echo(bob):
        alice.api.open(bob.device, "echo").close()
    sizes = [node.rss() >> 10 for node in (alice, bob)]
    print("idle RSS, KiB:", sizes)
    if not SANITIZER:
        assert max(sizes) < IDLE_RSS >> 10
