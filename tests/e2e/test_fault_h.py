# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS H, E4, E5, E6, E10: `send` and `receive` between people who do not know each other well, and machines that can little."""
import signal
import subprocess

import pytest
from harness import FULL
from test_files import MEGA, Receiver, finished, make, one_line, places, shown_by_send, tree, under_way

__all__ = ["places", "under_way"]  # fixtures


def test_fault_h_receive_takes_data_from_others_and_no_more(places):
    """Names that are obeyed, what can be executed, more than was allowed; and nothing is left of what was refused."""
    alice, bob, mine, his = places
    for name in ("top/.bashrc", "top/.git/hooks/x", "top/-rf", "top/sub/gpj.\u202eexe", "top/large", "top/sub/tool"):
        make(mine / name, 200_000 if name == "top/large" else 10).chmod(0o755)
    receiver = Receiver(bob, his, "--count", "6", "--max-size", "100k")
    done = alice.ctl("send", "-r", bob.device, str(mine / "top"))
    assert done.returncode != 0 and done.stderr.count(b"--any-name") == 4, done.stderr
    assert b"files of 100000 bytes at most" in done.stderr
    code, out, _ = receiver.wait()
    assert code == 1 and out.count("received from") == 1
    assert sorted(map(str, tree(his))) == ["top", "top/sub", "top/sub/tool"]
    assert (his / "top/sub/tool").stat().st_mode & 0o111 == 0


def test_fault_e6_a_sender_that_was_stopped_goes_on(under_way):
    """A minute of silence lost the file once. It takes its time: with --full; incoming_file_test.cpp has the rules."""
    if not FULL:
        pytest.skip("takes more than a minute: with --full")
    sender, receiver, path, his = under_way
    with pytest.raises(subprocess.TimeoutExpired):
        receiver.popen.wait(75)
    sender.send_signal(signal.SIGCONT)
    assert finished(sender)[0] == 0 and receiver.wait()[0] == 0
    assert (his / "large").read_bytes() == path.read_bytes()


def test_fault_e4_e5_what_is_not_what_it_seems_here(places):
    """A file whose size is not true; then the directory goes, which receive notices by itself."""
    alice, bob, mine, his = places
    receiver = Receiver(bob, his)
    done = alice.ctl("send", bob.device, "/proc/cpuinfo")
    assert done.returncode == 1 and "size says" in one_line(done.stderr.decode()), done.stderr
    assert "reset" in receiver.next_error()
    his.rmdir()
    code, _, err = receiver.wait()
    assert code == 8 and "is gone" in err  # the code is that of the first that failed


def test_fault_e10_a_terminal_that_can_little(places):
    alice, bob, mine, his = places
    for term in ("dumb", ""):
        receiver = Receiver(bob, his, "--count", "1", "--force")
        code, shown = shown_by_send(alice, bob, [make(mine / "file", 5 * MEGA)], term)
        assert code == 0 and receiver.wait()[0] == 0
        assert b"\x1b" not in shown and b"file: sent, " in shown, shown
