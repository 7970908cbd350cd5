# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon calls in a whole life, held to what its units allow: a call that they forbid fails with EPERM, which may
end the daemon, or pass unseen."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from harness import SANITIZER, SCALE, until
from traffic import Echo, round_trip

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = {"system": ROOT / "systemd/jami-connd.service.in", "user": ROOT / "systemd/user/jami-connd.service.in"}
LIFE_SECONDS = 180 * SCALE  # it makes its keys


def members(group):
    """The system calls of a set of systemd's, those of the sets in it included."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True).stdout
    out = set()
    for line in shown.splitlines():
        word = line.strip()
        if word.startswith("@") and line.startswith(" "):
            out |= members(word)
        elif word and line.startswith(" ") and not word.startswith("#"):
            out.add(word)
    return out


def allowed_by(unit):
    """As systemd.exec says: the first line allows; ~ takes away; another one adds. @default is always allowed."""
    out = members("@default")
    for line in unit.read_text(encoding="utf-8").splitlines():
        if not line.startswith("SystemCallFilter="):
            continue
        value = line.split("=", 1)[1]
        for word in value.lstrip("~").split():
            named = members(word) if word.startswith("@") else {word}
            out = out - named if value.startswith("~") else out | named
    assert "read" in out, unit
    return out


def called(table):
    """The names in the last column of strace -c."""
    lines = [line.split() for line in table.read_text(encoding="utf-8").splitlines()]
    return {words[-1] for words in lines if words and words[0].replace(".", "").isdigit() and words[-1] != "total"}


def live(lab, table):
    """A start with new keys, trust, a listen and an open each way, a reload, a stop; looked at by strace."""
    conf = lab.directory / "conf"
    conf.write_text("idle-timeout = 100\n", encoding="ascii")
    alice, bob = lab.node("alice", "--config", conf), lab.node("bob").start()
    if alice.state.exists():
        shutil.rmtree(alice.state)  # those of the laboratory: it makes its own
    arguments = alice.arguments()
    # -D: the daemon is the child that the laboratory knows, and strace looks on.
    alice.arguments = lambda: ["strace", "-D", "-f", "-qq", "-c", "-S", "name", "-o", str(table), *arguments]
    alice.start(ready=False)
    alice.wait_ready(LIFE_SECONDS)
    for one, other in ((alice, bob), (bob, alice)):
        one.api.call("trust.allow", id=other.device)
    with Echo(alice), Echo(bob):
        for one, other in ((alice, bob), (bob, alice)):
            channel = one.api.open(other.device, "echo")
            assert round_trip(channel, b"to and fro") == b"to and fro"
            channel.finish()
    conf.write_text("idle-timeout = 50\n", encoding="ascii")
    os.kill(alice.process.pid, signal.SIGHUP)
    until(lambda: alice.status()["limits"]["idle_timeout_s"] == 50, 10 * SCALE, "the reload")
    alice.stop()
    until(lambda: table.exists() and table.stat().st_size > 0, 10 * SCALE, "strace's table")


@pytest.mark.skipif(not UNITS["system"].exists(), reason="needs the whole source tree")
def test_fault_e0_it_calls_nothing_that_the_units_forbid(lab):
    for program in ("strace", "systemd-analyze"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    if SANITIZER:
        pytest.skip("a sanitizer has calls of its own")
    table = lab.directory / "calls"
    live(lab, table)
    calls = called(table)
    assert len(calls) > 40 and {"recvmsg", "execve"} <= calls, calls
    for name, unit in UNITS.items():
        forbidden = calls - allowed_by(unit)
        assert not forbidden, f"the {name}'s unit forbids {sorted(forbidden)}"
