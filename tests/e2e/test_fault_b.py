# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS B: trust that bites, with real daemons."""
import os
import struct

import pytest
from harness import BUILD, SANITIZER, SCALE, until

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
