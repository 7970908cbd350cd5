# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS F: what is said, and who knocked, with real daemons and the command line."""
import subprocess

from api_client import reason_of
from harness import SCALE
from traffic import Echo, round_trip

SHORT = 5 * SCALE


def test_fault_f_who_knocks_is_seen_and_let_in_by_the_command_line(lab):
    alice, bob = lab.pair("--ice-request", "ask", trust=False)
    with Echo(bob, peers="any"):
        # No program is there that is asked: the whole id is what trust allow takes.
        assert reason_of(alice.api.open, bob.device, "echo", timeout=SHORT) == "no-answer-or-refused"
        knock = bob.status()["turned_away"][0]
        assert (knock["peer"], knock["reason"]) == (alice.device, "not-permitted") and knock["count"] >= 1
        assert f"to let it in: jami-connctl trust allow {alice.device}" in bob.ctl("status", text=True).stdout
        assert "requests are declined at once" in bob.ctl("requests", text=True).stderr
        watch = bob.ctl_start("requests", "--watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "waiting for requests" in watch.stderr.readline()
        request = alice.api.send("channel.open", peer=bob.device, uri="echo")
        assert watch.stdout.readline() == f"{alice.device} asks to connect: jami-connctl accept {alice.device}\n"
        assert bob.ctl("requests", text=True).stdout.startswith(f"{alice.device}, for ")
        done = bob.ctl("accept", alice.device[:8], text=True)
        assert (done.returncode, done.stdout) == (0, f"accepted {alice.device}\n"), done
        assert round_trip(alice.api.opened(request), b"let in") == b"let in"
        assert bob.status()["turned_away"] == []
        assert bob.ctl("decline", alice.device[:8]).returncode == 4
    assert f"peer={alice.device} connection request refused reason=not-permitted" in bob.process.log()
