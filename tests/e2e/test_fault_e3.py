# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS E3: what `listen --exec` started ends with its channel, and its place is free then."""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest
from harness import SCALE, read_until, sized, until

GRACE = 1
COUNT = sized(5, 20, 300)
AT_ONCE = min(COUNT, 250)  # tools/exec_channels.h: 256 places
# What each leaves when nobody looks after it. $1 is a file that names its processes.
KINDS = {
    "pipe": 'tail -f "$1" | cat',
    "setsid": 'setsid tail -f "$1" & exec cat',
    "double fork": '(setsid sh -c \'tail -f "$1" & exit\' x "$1" &); exec cat',
    "ignores hup": 'trap "" HUP; tail -f "$1" | cat',
    "stopped": 'tail -f "$1" & kill -STOP $!; exec cat',
}


def processes_of(path):
    """Those that have the path among their arguments, but for jami-connctl and its keepers."""
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(path).encode() in words and b"--exec" not in words:
            found.append(int(directory.name))
    return found


def keepers_of(path):
    """jami-connctl itself, and its keepers."""
    words = subprocess.run(["pgrep", "-f", f"^[^ ]*jami-connctl.*--exec.*{path}"], capture_output=True, text=True, check=False)
    return [int(word) for word in words.stdout.split()]


def listening(node, uri, script, path, *options):
    popen = node.ctl_start("listen", *options, uri, "--exec", "sh", "-c", script, "sh", str(path), stderr=subprocess.PIPE)
    read_until(popen.stderr, b"listening for", 20 * SCALE)
    return popen


def ends(path, timeout, what):
    try:
        until(lambda: not processes_of(path), timeout, what)
    except TimeoutError:
        raise AssertionError(f"{what}: {len(processes_of(path))} processes are left") from None


@pytest.fixture
def file(shared_lab, request):
    path = shared_lab.directory / f"{request.node.name.translate(str.maketrans('[] ', '___'))}.txt"
    path.write_text("")
    yield path
    for pid in keepers_of(path) + processes_of(path):  # of a test that failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_e3_nothing_is_left_of_a_caller_that_has_gone(pair, file, kind):
    """However its processes hide; those that ignore SIGHUP are killed. The places are free again."""
    alice, bob = pair
    popen = listening(alice, "x*", KINDS[kind], file, "--kill-after", str(GRACE))
    for begin in range(0, COUNT, AT_ONCE):
        count = min(AT_ONCE, COUNT - begin)
        with bob.client("caller") as caller:
            channels = [caller.open(alice.device, f"x{n}") for n in range(count)]
            until(lambda: len(processes_of(file)) >= count, 60 * SCALE, "all run")
            for channel in channels:
                channel.close()
        ends(file, (GRACE + 10) * SCALE, kind)
        until(lambda: keepers_of(file) == [popen.pid], 10 * SCALE, "all places are free")
    print(f"{kind}: none of {COUNT} left")
    popen.terminate()
    popen.wait()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_fault_e3_nothing_is_left_of_a_listener_that_has_gone(pair, file, how):
    """Interrupted, or killed: its programs are told, and killed after the grace, by whom it left behind."""
    alice, bob = pair
    popen = listening(alice, "x*", KINDS["ignores hup"] + '; true', file, "--kill-after", str(GRACE))
    with bob.client("caller") as caller:
        channels = [caller.open(alice.device, f"x{n}") for n in range(5)]
        until(lambda: len(processes_of(file)) >= 5, 20 * SCALE, "all run")
        popen.send_signal(getattr(signal, how))
        popen.wait()
        ends(file, (GRACE + 10) * SCALE, how)
        until(lambda: not keepers_of(file), 10 * SCALE, "the keepers end, too")
        for channel in channels:
            channel.close()


def test_fault_e3_a_program_has_the_time_to_finish(pair, file):
    """After a clean end of the caller's data a program goes on as long as it likes; what it leaves in the background has the
    grace; the exit code is the program's."""
    alice, bob = pair
    done, later = file.with_suffix(".done"), file.with_suffix(".later")
    script = f'cat > "$1"; sleep {GRACE + 0.5}; echo done > {done}; (sleep {GRACE / 3}; echo later > {later}) > /dev/null 2>&1 < /dev/null &'
    popen = listening(alice, "x", script, file, "--once", "--kill-after", str(30 * GRACE))  # far more than it needs
    channel = bob.api.open(alice.device, "x", strict_end=True)
    channel.send(b"all of it").finish()
    assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
    assert popen.wait() == 0
    assert file.read_bytes() == b"all of it" and done.read_text() == "done\n"
    until(later.exists, 60 * SCALE, "what ran in the background has ended by itself")


def test_fault_e3_what_stays_behind_a_clean_end_is_told(pair, file):
    alice, bob = pair
    grace = 3 * GRACE  # it is looked at meanwhile
    popen = listening(alice, "x", '(tail -f "$1" > /dev/null 2>&1 < /dev/null &)', file, "--kill-after", str(grace))
    channel = bob.api.open(alice.device, "x", strict_end=True)
    channel.finish()
    assert channel.end()["reason"] == "closed"
    assert len(processes_of(file)) == 1  # for as long as the grace
    ends(file, (grace + 5) * SCALE, "told")
    until(lambda: keepers_of(file) == [popen.pid], 10 * SCALE, "the place is free")
    popen.terminate()
    popen.wait()
