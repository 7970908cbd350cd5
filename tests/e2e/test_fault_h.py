# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS H, E4, E5, E6, E10: `send` and `receive` between people who do not know each other well, and machines that can little."""
import signal
import subprocess
import time

import pytest
from harness import FULL, ApiError, until
from test_files import MEGA, Receiver, finished, header, make, one_line, places, shown_by_send, tree, under_way

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


def hold_places(peer, bob, count):
    """As many files to Bob, of which something has come and nothing more does."""
    requests = [peer.api.send("channel.open", peer=bob.device, uri=f"file://{peer.name} {n}", timeout=60) for n in range(count)]
    return [peer.api.opened(request, 60).send(header(MEGA) + b"some") for request in requests]


@pytest.mark.skipif(not FULL, reason="takes more than a minute (CONND_FULL=1); peer_places_test.cpp has the rules")
def test_fault_e6_all_places_are_taken_by_who_does_not_get_on(lab, tmp_path):
    """Two peers have all 256. Others get in after a minute, one place for each; who gets on keeps his, and so do the rest."""
    alice, bob, carol, dave = (lab.node(name).start() for name in ("alice", "bob", "carol", "dave"))
    for peer in (alice, carol, dave):
        bob.allow(peer)
    his = tmp_path / "his"
    his.mkdir()
    files = [make(tmp_path / f"daves {n}", 1000) for n in range(11)]
    receiver = Receiver(bob, his)
    held = hold_places(alice, bob, 128) + hold_places(carol, bob, 128)
    begun = time.monotonic()
    # Half are one peer's, at most: its next one waits, and so does everybody's.
    for peer in (alice, dave):
        with pytest.raises(ApiError) as late:
            peer.api.open(bob.device, "file://one more", timeout=5)
        assert late.value.reason == "timed-out", peer.name
    until(lambda: time.monotonic() > begun + 40, 60, "forty seconds have passed")
    held[0].send(b"x" * 65_536)  # a step
    until(lambda: time.monotonic() > begun + 50, 60, "ten more have passed")
    done = dave.ctl("send", bob.device, str(files[0]))
    print(f"256 places taken: another peer's file came {time.monotonic() - begun:.1f} s after their last step")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun > 59, "who is silent for less keeps his place"
    ended, _ = alice.api.wait("channel.closed", 20)
    assert ended["channel"] == held[1].handle and held[1].receive(1) == b"\x08", "the one that has not got on for the longest"
    done = dave.ctl("send", bob.device, *map(str, files[1:]))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in his.iterdir() if not path.name.startswith(".")} >= {file.name for file in files}
    places = [c for c in bob.api.call("channel.list")["channels"] if c["uri"].startswith("file://")]
    print(f"{len(places)} of 256 have theirs still")
    assert 256 - 11 <= len(places) < 256
    held[0].send(b"x" * (MEGA - 65_540) + bytes(32))  # with a wrong sum: it was listened to, to its end
    assert held[0].receive(1) == b"\x05"
    receiver.popen.kill()


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
