# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS E1, E2 and E14: who has just started, and who has no network."""
import statistics
import time

import pytest
from api_client import reason_of
from harness import SCALE, Lab, default_mode, sized, until
from outages import SideBySide, World, rounds, shown
from traffic import Echo, round_trip

MEDIAN_SECONDS = 1 * SCALE
LONGEST_SECONDS = 3 * SCALE
COUNT = sized(1, 3, 20)
# OpenDHT asks its bootstrap anew after 10 s, and pauses longer each time; we do every 20 s.
NEW_NETWORK_SECONDS = 45 * SCALE


def restart(*nodes):
    for node in nodes:
        node.stop()
    # By this thread: whoever is started dies with the thread that started it.
    for node in nodes:
        node.start(ready=False)
    for node in nodes:
        node.wait_ready()


def after_restarts(number, who, apart):
    """The times of first opens, each at the moment when those that were started anew are ready."""
    times = []
    with World(number, apart=apart) as world:
        world.open(20)
        for _ in range(COUNT):
            world.echo.__exit__(None)
            nodes = {"caller": [world.alice], "callee": [world.bob], "both": [world.alice, world.bob]}[who]
            restart(*nodes)
            world.listen()
            times.append(world.open())
    return times


def after_the_bootstrap(number, apart):
    """The same, where the DHT's first node comes last: nobody knows anybody, and the network comes for both at once."""
    times = []
    for round_number in range(1 if COUNT < 20 else 5):
        with World(number + round_number, started=False, apart=apart) as world:
            for node in (world.alice, world.bob):
                assert not node.api.call("hello", client="e1")["ready"], "nobody to be reached by"
            world.lab.start_dht()
            for node in (world.alice, world.bob):
                node.wait_ready(NEW_NETWORK_SECONDS)
            world.listen()
            times.append(world.open())
    return times


# Who starts; and whether the two nodes hear each other. Most of the world's do not.
STARTS = [(20, "caller", False), (21, "both", False), (22, "caller", True), (23, "callee", True), (24, "both", True),
          (25, "bootstrap", True)]
if COUNT == 20:
    STARTS += [(30, "callee", False), *((35 + 5 * k, "bootstrap", k == 0) for k in range(2)),
               *((50 + 5 * k, "bootstrap", True) for k in range(3))]


def first_open_after_a_start():
    one = lambda case: after_the_bootstrap(case[0], case[2]) if case[1] == "bootstrap" else after_restarts(*case)
    by_case = {}
    for case, times in zip(STARTS, rounds(STARTS, one), strict=True):
        by_case.setdefault(case[1:], []).extend(times)
    for (who, apart), times in by_case.items():
        print(f"first open after a start of the {who}{', nodes apart' if apart else ''}: {shown(times)} s")
        assert None not in times, (who, apart)
        assert statistics.median(times) < MEDIAN_SECONDS, (who, apart, times)
        assert max(times) < LONGEST_SECONDS, (who, apart, times)


def a_peer_that_starts_while_it_is_looked_for():
    """It is not on the DHT when the open begins: the lookup goes on."""
    with Lab("netns") as lab:
        alice, bob = lab.node("alice", identity_number=140).start(), lab.node("bob", identity_number=141)
        bob.start().allow(alice)
        device = bob.device
        bob.stop()
        lab.stop_dht()  # and with it what he has published
        lab.start_dht()
        alice.wait_ready()
        opening = alice.api.send("channel.open", peer=device, uri="echo", timeout=30 * SCALE, strict_end=True)
        time.sleep(sized(6, 6, 20))  # longer than three rounds of a lookup take
        bob.start()
        with Echo(bob):
            began = time.monotonic()
            assert round_trip(alice.api.opened(opening, 40 * SCALE), b"late") == b"late"
            print(f"opened {time.monotonic() - began:.1f} s after he was ready")


def calls_that_race_the_start_wait():
    """At the moment when the socket is there; with keys that are made, and that are still to be made."""
    with Lab() as lab:
        race_the_start(lab)


def race_the_start(lab):
    bob = lab.node("bob", "--ice-request", "anyone").start()
    with Echo(bob, peers="any"):
        for name, options in (("alice", {}), ("new", {"identity_number": "none"})):
            node = lab.node(name, **options).start(ready=False)
            began = time.monotonic()
            channel = node.api.open(bob.device, "echo", timeout=180 * SCALE)  # it makes its keys first
            assert round_trip(channel, b"early") == b"early"
            print(f"{name}: open after {time.monotonic() - began:.1f} s")
            channel.close()
            # The same by the command line, as a unit's ExecStartPost would.
            node.stop()
            node.start(ready=False)
            done = node.ctl("open", bob.device, "echo", "--timeout", "30", input=b"early")
            assert done.returncode == 0 and done.stdout == b"early", done.stderr
        node = lab.node("third", identity_number="none").start(ready=False)
        # Its time is over before it has keys: it says so, and is not lost.
        assert reason_of(node.api.open, bob.device, "echo", timeout=0.05) in ("not-ready", "no-network")
        node.kill()  # keys that are being made are made to the end, else


def no_network_is_told_as_that():
    with Lab("netns", dht=False) as lab:
        alice, bob = lab.node("alice"), lab.node("bob")
        for node in (alice, bob):
            node.start(ready=False)
        until(lambda: alice.status()["state"] == "ready", 20 * SCALE, "it has its identity")
        hello = alice.api.call("hello", client="e14")
        assert hello["ready"] is False and hello["device"], "no node of the DHT is known"
        status = alice.status()
        assert status["dht"]["reachable"] != "yes" and status["dht"]["state"] != "connected"
        until(lambda: any("DHT" in problem for problem in alice.status()["problems"]), 20 * SCALE, "a problem")
        nobody = "5a" * 32
        assert reason_of(alice.api.open, nobody, "echo", timeout=SCALE / 2) == "no-network"
        account = "5b" * 20
        assert reason_of(alice.api.open, account, "echo", timeout=SCALE / 2) == "no-network"
        done = alice.ctl("open", nobody, "echo", "--timeout", "1")
        assert done.returncode == 4 and b"no-network" in done.stderr
        assert b"check the id" not in done.stderr and b"trust" not in done.stderr, done.stderr
        # The network comes within the open's time.
        bob_device = until(lambda: bob.api.call("hello", client="e14").get("device"), 20 * SCALE, "bob's identity")
        bob.api.call("trust.allow", id=hello["device"])
        with Echo(bob):
            opening = alice.api.send("channel.open", peer=bob_device, uri="echo", timeout=60 * SCALE, strict_end=True)
            time.sleep(1)
            lab.start_dht()
            assert round_trip(alice.api.opened(opening, 70 * SCALE), b"there") == b"there"
        assert alice.api.call("hello", client="e14")["ready"] is True


@pytest.fixture(scope="module")
def side_by_side(request):
    bodies = {"test_fault_e2_calls_that_race_the_start_wait": calls_that_race_the_start_wait}
    if default_mode() == "netns":
        bodies |= {"test_fault_e1_first_open_after_a_start": first_open_after_a_start,
                   "test_fault_e1_a_peer_that_starts_while_it_is_looked_for": a_peer_that_starts_while_it_is_looked_for,
                   "test_fault_e14_no_network_is_told_as_that": no_network_is_told_as_that}
    made = SideBySide(request, bodies)
    yield made
    made.end()


def test_fault_e1_first_open_after_a_start(netns, side_by_side, request):
    side_by_side.wait(request)


def test_fault_e1_a_peer_that_starts_while_it_is_looked_for(netns, side_by_side, request):
    side_by_side.wait(request)


def test_fault_e2_calls_that_race_the_start_wait(side_by_side, request):
    side_by_side.wait(request)


def test_fault_e14_no_network_is_told_as_that(netns, side_by_side, request):
    side_by_side.wait(request)
