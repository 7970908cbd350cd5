# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS A4 and B: trust that bites, with real daemons."""
import os
import shutil
import struct
import time

import pytest
from harness import BUILD, FULL, SANITIZER, SCALE, inside, run, sized, until
from traffic import Echo, round_trip

CLOCK_SHIFT = os.environ.get("CONND_CLOCK_SHIFT") or str(BUILD / "tests/peer/libclock_shift.so")
YEAR = 365 * 86400


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first")
def test_fault_b5_a_clock_of_another_year_is_a_problem_that_status_tells(lab):
    alice = lab.node("alice")
    clock = alice.directory / "clock"
    clock.write_bytes(struct.pack("q", -40 * YEAR))
    alice.preload = {"LD_PRELOAD": CLOCK_SHIFT, "CLOCK_SHIFT": str(clock)}
    alice.start()
    problem = until(lambda: alice.status()["problems"], 10 * SCALE, "a problem")[0]
    for part in ("this device's certificate is not valid yet", "valid from 20", "this device's clock says 198"):
        assert part in problem, problem
    with open(clock, "r+b") as file:
        file.write(struct.pack("q", 0))
    assert not any("certificate" in problem for problem in alice.status()["problems"])


def lose(node, part):
    """One in `part` of the datagrams that come to the node is lost. (Those that go are the others' that come; dropped on
    their way out they would be an error to whoever sends them, which no loss on the way is.)"""
    rules = ("table ip lossy {\n chain input {\n type filter hook input priority 0;\n"
             f" meta l4proto udp numgen random mod {part} == 0 drop\n }}\n}}\n")
    inside(node.namespace, lambda: run("nft", "-f", "-", input=rules))
    node.junk = True  # parts of values whose beginning was lost


@pytest.mark.parametrize("part", [0, 10])
def test_fault_a4_a_device_of_a_trusted_account_is_let_in_without_a_lookup(lab, part):
    """Its requests carry its chain; with one part in ten lost, too. In a full run chains are as long as the daemon makes them."""
    if part and lab.mode != "netns":
        pytest.skip("only in a network of its own can datagrams be lost")
    bob = lab.node("bob").start()
    if part:
        lose(bob, part)
    took = []
    with Echo(bob):
        for number in range(sized(1, 2, 20)):
            alice = lab.node(f"alice{number}", identity_number="none" if FULL else None).start()
            if part:
                lose(alice, part)
            bob.api.call("trust.allow", id=alice.account)
            began = time.monotonic()
            assert round_trip(alice.api.open(bob.device, "echo", timeout=30 * SCALE), b"in") == b"in"
            took.append(time.monotonic() - began)
            alice.stop()
    print(f"first opens with one datagram in {part} lost: {len(took)}, median {sorted(took)[len(took) // 2]:.2f} s, at most {max(took):.2f} s")
    if not part:
        assert bob.status()["metrics"]["dht_lookups"] == 0


def test_fault_b4_a_copied_state_directory_is_noticed_by_both(lab):
    """The original is told by an event, both by their problems; which ends when one has ended is unit-tested."""
    original = lab.node("original").start()
    events = original.client("events")
    events.call("events.subscribe")
    copy = lab.node("copy")
    shutil.copytree(original.state, copy.state, ignore=shutil.ignore_patterns("lock", "run"), dirs_exist_ok=True)
    copy.start()
    assert copy.device == original.device
    assert events.event("identity.cloned", timeout=30 * SCALE)["device"] == original.device
    for node in (original, copy):
        until(lambda: any("another daemon" in problem for problem in node.status()["problems"]), 30 * SCALE, "a problem")
