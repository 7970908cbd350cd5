# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS E00: after an outage a device is reachable again, from any peer, at once."""
import json
import pathlib
import threading
import time

import pytest
from harness import FULL, SCALE, Late, default_mode, inside, run, until
from outages import SideBySide, World, rounds, shown
from traffic import subscribed

# From the first sign that the host can see; and where there is none.
SIGN_SECONDS = 10 * SCALE
NO_SIGN_SECONDS = 45 * SCALE
# Nodes of the DHT, and peers that a daemon has met. What an hour costs when idle, at most twice what was measured:
# datagrams, kB and wake-ups (1 node: 2,904, 448, 5,496; 30 nodes: 16,560, 3,226, 16,608; with the keys of 64 peers 30,696,
# 4,108, 30,936, and 124,824, 17,802, 100,524).
IDLE_CASES = [(1, 0), (30, 0), (1, 64), (30, 64)]
IDLE_LIMITS = (30_000, 6_000, 35_000)
IDLE_LIMITS_PEERS = (200_000, 28_000, 160_000)


def outages(number, nodes, side, how, seconds, count, ready):
    """The times of `count` outages, one after the other, from when all worlds are `ready`: a start takes the machine's time."""
    try:
        with STARTS:
            world = World(number, nodes)
    except BaseException:
        ready.abort()
        raise
    with world:
        assert world.open(20) is not None, "before any outage"
        world.part()
        ready.wait()
        victim = {"callee": world.bob, "caller": world.alice}[side]
        return [world.outage(victim, how, seconds) for _ in range(count)]


STARTS = threading.Semaphore(4)
# Side, kind and length of an outage, and how many one after the other. With --full six of each, of the long ones in worlds
# side by side: 35 minutes for each size of the DHT.
CASES = [("callee", "link", 9, 1), ("callee", "link", 5, 1), ("caller", "link", 9, 1), ("callee", "drop", 9, 1)]
FLAPS = (0.1, 0.2, 0.5)
if FULL:
    CASES = [(side, how, seconds, count) for side in ("callee", "caller") for how in ("link", "drop")
             for seconds, count, worlds in ((5, 6, 1), (20, 6, 1), (130, 6, 1), (600, 3, 2)) for _ in range(worlds)]


def reachable_after_an_outage(nodes, cases=CASES):
    ready = threading.Barrier(len(cases))
    times = rounds(list(enumerate(cases)), lambda world: outages(world[0], nodes, *world[1], ready))
    late, by_case = [], {}
    for case, took in zip(cases, times, strict=True):
        by_case.setdefault(case[:3], []).extend(took)
    for (side, how, seconds), took in by_case.items():
        print(f"nodes={nodes} side={side} how={how} seconds={seconds}: {shown(took)}")
        limit = SIGN_SECONDS if how == "link" else NO_SIGN_SECONDS
        late += [(side, how, seconds, t) for t in took if t is None or t > limit]
    assert not late, late


@pytest.mark.skipif(not FULL, reason="takes minutes (CONND_FULL=1)")
@pytest.mark.parametrize("nodes", [1, 3])
def test_fault_e00_reachable_after_a_flap(netns, nodes):
    """So short that nobody notices but the listens: what was sent meanwhile failed, and they are dead."""
    reachable_after_an_outage(nodes, [("callee", "link", seconds, 4) for seconds in FLAPS for _ in range(2)])


def reachable_is_told():
    """In status, events and problems; by the machine's own test, not by what it believes."""
    with World(90) as world:
        bob, events = world.bob, subscribed(world.bob)
        until(lambda: bob.status()["dht"]["reachable"] == "yes", 10 * SCALE, "the first test has passed")
        status = bob.status()
        assert status["problems"] == [] and status["metrics"]["dht_self_tests"] >= 1
        assert 0 <= status["dht"]["last_reached_s"] <= status["uptime_s"]
        assert bob.api.call("events.subscribe")["reachable"] == "yes"
        assert b"reachable" in bob.ctl("status").stdout
        world.link_down(bob)
        # At the next refresh of its listens nobody answers.
        while events.event("network.reachable", 60 * SCALE)["reachable"] != "no":
            pass
        status = bob.status()
        assert status["dht"]["reachable"] == "no" and any("reach" in problem for problem in status["problems"])
        with Late() as late:
            world.link_up(bob)
            up = time.monotonic()
            while events.event("network.reachable", SIGN_SECONDS)["reachable"] != "yes":
                pass
            told = time.monotonic() - up - late.seconds
        print(f"told {told:.1f} s after the link was up")
        assert told < SIGN_SECONDS
        assert bob.status()["problems"] == []


@pytest.fixture(scope="module")
def side_by_side(request):
    if default_mode() != "netns":
        yield None
        return
    # The full matrix is too large for company.
    bodies = {"test_fault_e00_reachable_is_told": reachable_is_told}
    if not FULL:
        bodies["test_fault_e00_reachable_after_an_outage"] = lambda: reachable_after_an_outage(1)
    made = SideBySide(request, bodies)
    yield made
    made.end()


@pytest.mark.parametrize("nodes", [1, 3, 30] if FULL else [1])
def test_fault_e00_reachable_after_an_outage(netns, nodes, side_by_side, request):
    reachable_after_an_outage(nodes) if FULL else side_by_side.wait(request)


def test_fault_e00_reachable_is_told(netns, side_by_side, request):
    side_by_side.wait(request)


def counted(node):
    """Datagrams and bytes of the DHT that came and went, as the kernel counts them from now on; a function that tells."""
    rules = "table ip idle {\n" + "".join(
        f"chain {hook} {{\ntype filter hook {hook} priority 0;\nmeta l4proto udp counter\n}}\n" for hook in ("input", "output")) + "}\n"
    inside(node.namespace, lambda: run("nft", "-f", "-", input=rules))

    def total():
        listed = json.loads(inside(node.namespace, lambda: run("nft", "-j", "list", "table", "ip", "idle")))["nftables"]
        counters = [e["counter"] for item in listed for e in item.get("rule", {}).get("expr", []) if "counter" in e]
        return sum(c["packets"] for c in counters), sum(c["bytes"] for c in counters)

    return total


def wakeups(node):
    """Times that a thread of the daemon was given a processor because it had waited for something."""
    total = 0
    for task in pathlib.Path(f"/proc/{node.process.pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


@pytest.mark.skipif(not FULL, reason="takes minutes (CONND_FULL=1)")
def test_fault_e00_what_an_idle_daemon_costs(netns):
    """Of the second number of peers Bob has met them all: he listens for each of them, twice."""
    for (nodes, peers), cost in zip(IDLE_CASES, rounds(list(enumerate(IDLE_CASES)), lambda case: idle_hour(case[0], *case[1])), strict=True):
        print(f"idle, {nodes} nodes, {peers} peers, an hour: {cost[0]:,.0f} datagrams, {cost[1]:,.0f} kB, {cost[2]:,.0f} wake-ups")
        limits = IDLE_LIMITS_PEERS if peers else IDLE_LIMITS
        assert all(one < limit for one, limit in zip(cost, limits, strict=True)), (nodes, peers, cost)


def idle_hour(number, nodes, peers):
    with World(91 + number, nodes, peers=peers) as world:
        world.part()
        time.sleep(30)  # what a start does is over
        total, before, begun = counted(world.bob), wakeups(world.bob), time.monotonic()
        time.sleep(300)
        hours = (time.monotonic() - begun) / 3600
        (packets, size), woken = total(), wakeups(world.bob) - before
        return packets / hours, size / 1000 / hours, woken / hours
