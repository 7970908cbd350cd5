# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault J1, with Debian's jamid: a sender without credit, and its beacons."""
import hashlib
import os
import subprocess
import time

import pytest

import harness
from harness import SCALE
from hostile import HOSTILE, Hostile, jami, numbers, pack

VERSION = jami(65535, pack({"v": 1}))
ALIVE = jami(65535, pack({"p": False}))
# After its beacon, jamid waits so long for the answer (PROTOCOL.md 17).
PATIENCE = 3


class KnownJamid:
    """What Hostile.knows() wants of a node: who jamid is."""

    def __init__(self, jamid):
        self.name = jamid.name
        self.api = self
        self.chain = (jamid.directory / "data" / "jami" / jamid.handle / "ring_device.crt").read_text()

    def call(self, _):
        return {"chain": self.chain}


@pytest.fixture
def puppet(jami_lab, shared):
    """A peer of jamid's that does what it is told, with a `sip` channel."""
    _, jamid = shared
    peer = Hostile.good(jami_lab, HOSTILE).say("jami")
    peer.connect(KnownJamid(jamid), next(numbers), hello=False)
    peer.plain(VERSION).expect("sent")
    peer.plain(jami(0, pack(["sip", 1, 0]))).expect_plain(pack(["sip", 1, 1]))
    yield peer
    peer.end()


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_fault_j1_jamid_counts_the_answers_to_its_beacons(shared, puppet, answers):
    """One lives on; without one it closes the connection 3 s later, and with one too many, too: none may be sent unasked."""
    shared[1].call("connectivityChanged")
    puppet.expect_plain(pack({"p": True}), 10 * SCALE)
    asked = time.monotonic()
    for _ in range(answers):
        puppet.plain(ALIVE).expect("sent")
    if answers == 1:
        with pytest.raises(AssertionError, match="nothing more"):
            puppet.expect("down", PATIENCE + 2)
        puppet.plain(jami(0, pack(["sip", 2, 0]))).expect_plain(pack(["sip", 2, 1]))
    else:
        puppet.expect("down", 10 * SCALE)
        assert PATIENCE - 0.5 <= time.monotonic() - asked <= PATIENCE + SCALE
