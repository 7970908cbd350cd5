# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS A4 and B: trust that bites, with real daemons."""
import os
import shutil
import struct
import time

import pytest
from api_client import ApiError
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


def verb(node, *arguments, text=b""):
    done = node.ctl(*arguments, input=text)
    assert done.returncode == 0, (arguments, done)
    return done


def test_fault_b7_a_lost_device_is_revoked_by_one_command_and_others_learn_of_it(lab):
    """Bob trusts the account, and never speaks with the device that holds its key: the list reaches him by the DHT."""
    alice, laptop, bob = (lab.node(name).start() for name in ("alice", "laptop", "bob"))
    signed = verb(alice, "identity", "sign", "-", "--trust-account", text=verb(laptop, "identity", "request").stdout)
    joined = verb(laptop, "identity", "import", "-", text=signed.stdout)
    # It is told how its account's devices come to trust each other.
    assert f"trust allow {alice.account}" in joined.stderr.decode()
    until(lambda: laptop.api.call("hello", client="e2e").get("account") == alice.account, 40 * SCALE, "it has joined")
    laptop.wait_ready()
    bob.api.call("trust.allow", id=alice.account)
    with Echo(alice), Echo(bob):
        for node in (alice, bob):
            assert round_trip(laptop.api.open(node.device, "echo", timeout=30 * SCALE), b"of the account") == b"of the account"
        revoked = verb(alice, "identity", "revoke", laptop.device)
        assert b"BEGIN X509 CRL" in revoked.stdout
        until(lambda: not alice.connections(laptop), 20 * SCALE, "alice has closed")
        bob.api.call("connection.close", peer=laptop.device)

        # He asks when one of the account's devices connects: the lost one itself, which loses its channel, or is refused.
        with pytest.raises(ApiError) as refused:
            until(lambda: laptop.api.open(bob.device, "echo", timeout=2 * SCALE) and bob.api.call("connection.close", peer=laptop.device) is None,
                  60 * SCALE, "an open that is refused")
        assert refused.value.reason in ("no-answer-or-refused", "bad-certificate"), refused.value
        crl = bob.api.call("crl.list")["crls"]
    assert [(one["number"], one["revoked"]) for one in crl] == [(1, 1)]
    assert "revocations_asked_s" in bob.status()["metrics"]
