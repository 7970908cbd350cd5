# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS E00: after an outage a device is reachable again, from any peer, at once."""
import json
import pathlib
import time

import pytest
from harness import FULL, SCALE, inside, run, until
from outages import World, rounds, shown
from traffic import subscribed

# From the first sign that the host can see; and where there is none.
SIGN_SECONDS = 10 * SCALE
NO_SIGN_SECONDS = 45 * SCALE
# An hour of an idle daemon in a DHT with as many nodes as a key needs, and more; twice what was measured (14,808; 2,985;
# 16,656).
IDLE_DATAGRAMS = 30_000
IDLE_KB = 6_000
IDLE_WAKEUPS = 35_000


def outages(number, nodes, side, how, seconds, count):
    """The times of `count` outages, one after the other."""
    with World(number, nodes) as world:
        assert world.open(20) is not None, "before any outage"
        world.part()
        victim = {"callee": world.bob, "caller": world.alice}[side]
        return [world.outage(victim, how, seconds) for _ in range(count)]


CASES = [("callee", "link", 20), ("callee", "link", 5), ("caller", "link", 20), ("callee", "drop", 20)]
if FULL:
    CASES += [("caller", "link", 5), ("caller", "drop", 20), ("callee", "drop", 5), ("callee", "link", 130),
              ("callee", "drop", 130), ("caller", "link", 130), ("caller", "drop", 130)]


@pytest.mark.parametrize("nodes", [1, 3, 30] if FULL else [1])
def test_fault_e00_reachable_after_an_outage(netns, nodes):
    count = 6 if FULL else 1
    worlds = list(enumerate(CASES))
    times = rounds(worlds, lambda world: outages(world[0], nodes, *world[1], count))
    late = []
    for case, took in zip(CASES, times, strict=True):
        print(f"nodes={nodes} side={case[0]} how={case[1]} seconds={case[2]}: {shown(took)}")
        limit = SIGN_SECONDS if case[1] == "link" else NO_SIGN_SECONDS
        late += [(case, t) for t in took if t is None or t > limit]
    assert not late, late


def test_fault_e00_reachable_is_told(netns):
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
        world.link_up(bob)
        up = time.monotonic()
        while events.event("network.reachable", SIGN_SECONDS)["reachable"] != "yes":
            pass
        print(f"told {time.monotonic() - up:.1f} s after the link was up")
        assert bob.status()["problems"] == []


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
@pytest.mark.parametrize("nodes", [1, 30])
def test_fault_e00_what_an_idle_daemon_costs(netns, nodes):
    with World(91, nodes) as world:
        world.part()
        time.sleep(30)  # what a start does is over
        total, before, begun = counted(world.bob), wakeups(world.bob), time.monotonic()
        time.sleep(300)
        hours = (time.monotonic() - begun) / 3600
        (packets, size), woken = total(), wakeups(world.bob) - before
        per_hour = {"datagrams": packets / hours, "kB": size / 1000 / hours, "wake-ups": woken / hours}
        print(f"idle, {nodes} nodes, an hour: " + ", ".join(f"{value:,.0f} {name}" for name, value in per_hour.items()))
        assert per_hour["datagrams"] < IDLE_DATAGRAMS and per_hour["kB"] < IDLE_KB and per_hour["wake-ups"] < IDLE_WAKEUPS
