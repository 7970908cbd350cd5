# SPDX-License-Identifier: GPL-3.0-or-later
"""`send` and `receive` between real daemons: files that arrive whole or not at all, and say which."""
import fcntl
import hashlib
import json
import os
import pathlib
import select
import signal
import struct
import subprocess
import tempfile
import termios

import pytest
from harness import SCALE, ApiError, Deadline, sized, until

MEGA = 1_000_000


class Receiver:
    """`receive` that listens."""

    def __init__(self, node, directory, *arguments):
        # A pipe that nobody reads meanwhile would fill, and stop it.
        self.output = tempfile.TemporaryFile()
        self.popen = node.ctl_start("receive", str(directory), *arguments, stdout=self.output, stderr=subprocess.PIPE)
        self.first = self.popen.stderr.readline()
        assert b"listening for file://*" in self.first, self.first + self.popen.stderr.read()

    def wait(self, timeout=20 * SCALE):
        """Exit code, stdout, and stderr but its first line."""
        _, err = self.popen.communicate(timeout=timeout)
        self.output.seek(0)
        return self.popen.returncode, self.output.read().decode(), err.decode()

    def stop(self, number=signal.SIGINT):
        self.popen.send_signal(number)
        return self.wait()

    def next_error(self):
        return self.popen.stderr.readline().decode()


@pytest.fixture
def places(pair, tmp_path):
    """Alice and Bob, a directory of hers and one of his."""
    alice, bob = pair
    mine, his = tmp_path / "mine", tmp_path / "his"
    mine.mkdir()
    his.mkdir()
    return alice, bob, mine, his


def make(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def tree(directory):
    """Relative paths of all that is there, with contents of the files."""
    return {path.relative_to(directory): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


def moving(place):
    """True once a hidden file in `place` has content: the transfer is under way."""
    return [path for path in place.rglob(".jami-receive-*") if path.stat().st_size > 0]


def finished(popen):
    out, err = popen.communicate(timeout=30 * SCALE)
    return popen.returncode, out.decode(), err.decode()


def one_line(text):
    assert text.startswith("jami-connctl: ") and text.count("\n") == 1, text
    return text


# ---- files that arrive ----


def test_files_arrive_with_time_and_mode_over_one_connection(places):
    alice, bob, mine, his = places
    files = [make(mine / "one", sized(2, 30, 300) * MEGA), make(mine / "two", sized(1, 7, 70) * MEGA), make(mine / "empty", 0)]
    files[0].chmod(0o750)
    os.utime(files[0], ns=(0, 1_234_567_890_123_456_789))
    receiver = Receiver(bob, his, "--count", "3", "--executables")
    done = alice.ctl("send", bob.device, *map(str, files))
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    code, out, err = receiver.wait()
    assert (code, err) == (0, "") and out.count("received from") == 3
    assert tree(his) == tree(mine)
    assert (his / "one").stat().st_mode & 0o777 == 0o750
    assert (his / "one").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert len(alice.connections(bob)) == 1


def test_directory(places):
    alice, bob, mine, his = places
    for name in ("top/a", "top/sub/deep/b", "top/sub/c", "top/\xe9\n \x1b[31m%2F"):
        make(mine / name, 1000)
    make(mine / os.fsdecode(b"top/\xff not utf-8"), 10)
    receiver = Receiver(bob, his, "--count", "5", "--any-name")
    done = alice.ctl("send", "-r", bob.device, str(mine / "top"))
    assert done.returncode == 0, done.stderr
    assert receiver.wait()[0] == 0
    assert tree(his) == tree(mine)
    # What a terminal would obey is escaped.
    assert b"\x1b" not in done.stdout and b"\\x1b[31m" in done.stdout


def test_directory_with_links_sends_the_rest_and_says_so(places):
    alice, bob, mine, his = places
    make(mine / "top/file", 10)
    (mine / "top/link").symlink_to("/etc/passwd")
    (mine / "top/loop").symlink_to(".")
    receiver = Receiver(bob, his, "--count", "1")
    done = alice.ctl("send", "-r", bob.device, str(mine / "top"))
    assert done.returncode == 1 and done.stderr.count(b"symbolic link") == 2, done.stderr
    assert receiver.wait()[0] == 0 and list(tree(his)) == [pathlib.Path("top"), pathlib.Path("top/file")]


def test_thousands_of_small_files(places):
    alice, bob, mine, his = places
    count = sized(300, 3000, 20000)
    for number in range(count):
        (mine / f"f{number}").write_bytes(b"x" * (number % 5000))
    receiver = Receiver(bob, his, "--count", str(count))
    done = alice.ctl("send", "-r", bob.device, str(mine) + "/.", timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    assert receiver.wait()[0] == 0
    assert tree(his) == tree(mine)
    print(done.stdout.decode().splitlines()[-1])


def test_json(places):
    alice, bob, mine, his = places
    path = make(mine / "file", 5000)
    receiver = Receiver(bob, his, "--count", "1", "--json")
    done = alice.ctl("send", "--json", bob.device, str(path), str(mine / "gone"))
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["type"] for line in lines) == ["file.failed", "file.sent", "summary"]
    sent = next(line for line in lines if line["type"] == "file.sent")
    assert sent["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and sent["size"] == 5000
    assert sent["peer"] == bob.device and sent["uri"] == "file://file"
    got = [json.loads(line) for line in receiver.wait()[1].splitlines()]
    assert [line["type"] for line in got] == ["listening", "file.received", "summary"]
    assert got[1]["sha256"] == sent["sha256"] and got[1]["peer"] == alice.device


def test_from_takes_one_device_only(places):
    alice, bob, mine, his = places
    path = make(mine / "file", 10)
    receiver = Receiver(bob, his, "--from", "5a" * 32)
    done = alice.ctl("send", bob.device, str(path))
    assert done.returncode == 5, one_line(done.stderr.decode())
    assert receiver.stop()[0] == 130 and tree(his) == {}
    bob.ctl("alias", "set", "alice", alice.device)
    receiver = Receiver(bob, his, "--from", "alice", "--count", "1")
    assert alice.ctl("send", bob.device, str(path)).returncode == 0
    assert receiver.wait()[0] == 0 and tree(his) == tree(mine)
    bob.ctl("alias", "remove", "alice")
    assert bob.ctl("receive", str(his), "--from", "alice").returncode == 4


def test_existing_file_is_kept_unless_forced(places):
    alice, bob, mine, his = places
    path = make(mine / "file", 1000)
    (his / "file").write_bytes(b"old")
    receiver = Receiver(bob, his)
    done = alice.ctl("send", bob.device, str(path))
    assert done.returncode == 5 and "keeps it" in one_line(done.stderr.decode())
    assert "it is kept" in receiver.next_error()
    assert receiver.stop()[0] == 130 and (his / "file").read_bytes() == b"old"
    receiver = Receiver(bob, his, "--force", "--count", "1")
    assert alice.ctl("send", bob.device, str(path)).returncode == 0
    assert receiver.wait()[0] == 0 and tree(his) == tree(mine)


def test_nobody_receives(places):
    alice, bob, mine, _ = places
    done = alice.ctl("send", bob.device, str(make(mine / "a", 1)), str(make(mine / "b", 1)))
    assert done.returncode == 5 and b"1 more were not sent" in done.stderr, done.stderr


# ---- bad input ----


def raw(alice, bob, uri, data=b"", finish=False):
    """The channel of a sender of our own making."""
    channel = alice.api.open(bob.device, uri)
    channel.send(data)
    if finish:
        channel.finish()
    return channel


def header(size, **changes):
    members = {"v": 1, "size": size, "mtime": 0, "mode": 0o644} | changes
    body = bytes([0x80 + len(members)])
    for key, value in members.items():
        body += bytes([0xA0 + len(key)]) + key.encode() + b"\xcf" + struct.pack(">Q", value)
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("uri", ["file://..", "file://a/../../b", "file://%2e%2e/a", "file:///etc/passwd", "file://a%2F..%2Fb",
                                 "file://a\nb", "file://a%00b", "file://" + "x" * 300, "file://", "file://a//b"])
def test_names_that_lead_elsewhere(places, uri):
    alice, bob, _, his = places
    receiver = Receiver(bob, his, "--count", "1")
    with pytest.raises(ApiError) as error:
        alice.api.open(bob.device, uri)
    assert error.value.reason == "declined"
    code, _, err = receiver.wait()
    assert code == 1 and "bad-name" in one_line(err) and tree(his) == {}


@pytest.mark.parametrize("data, code, exit_code", [
    (header(5) + b"hello" + hashlib.sha256(b"hellO").digest(), 5, 8),
    (header(4) + b"hello" + hashlib.sha256(b"hello").digest(), 5, 8),
    (header(1 << 62), 2, 1),
    (header(5, v=2), 4, 8),
    (b"\xff" * 100, 4, 8),
])
def test_sender_that_lies(places, data, code, exit_code):
    alice, bob, _, his = places
    receiver = Receiver(bob, his, "--count", "1")
    channel = raw(alice, bob, "file://name", data)
    answer = channel.receive(1)
    assert answer == bytes([code])
    channel.finish()
    channel.receive_all()
    ended, _, err = receiver.wait()
    assert ended == exit_code and one_line(err) and tree(his) == {}


def test_sender_that_ends_early(places):
    alice, bob, _, his = places
    receiver = Receiver(bob, his, "--count", "1")
    channel = raw(alice, bob, "file://name", header(10) + b"hello", finish=True)
    assert channel.receive(1) == b"\x04"
    channel.receive_all()
    code, _, err = receiver.wait()
    assert code == 8 and "after 5 of 10 bytes" in one_line(err) and tree(his) == {}


def test_symbolic_link_in_the_directory_is_not_followed(places):
    alice, bob, mine, his = places
    outside = his.parent / "outside"
    outside.mkdir()
    (his / "top").symlink_to(outside)
    make(mine / "top/file", 10)
    receiver = Receiver(bob, his, "--count", "1", "--force")
    assert alice.ctl("send", "-r", bob.device, str(mine / "top")).returncode != 0
    assert receiver.wait()[0] == 1 and list(outside.iterdir()) == []


def test_names_that_cannot_be_sent(places):
    alice, bob, mine, _ = places
    gone = alice.ctl("send", bob.device, str(mine / "gone"))
    assert gone.returncode == 1 and b"No such file" in gone.stderr and one_line(gone.stderr.decode())
    for name in ("..", "/", str(mine), "/dev/null", str(mine / ("x" * 300))):
        done = alice.ctl("send", bob.device, name)
        assert done.returncode == 1 and one_line(done.stderr.decode())
    os.mkfifo(mine / "fifo")
    assert b"not a regular file" in alice.ctl("send", bob.device, str(mine / "fifo")).stderr
    make(mine / "a/x", 1)
    assert alice.ctl("send", bob.device, str(make(mine / "x", 1)), str(mine / "a/x")).returncode == 2


@pytest.fixture
def under_way(places):
    """A large file that moves: both ends, frozen in the middle of it."""
    alice, bob, mine, his = places
    path = make(mine / "large", sized(20, 200, 400) * MEGA)
    receiver = Receiver(bob, his, "--count", "1")
    sender = alice.ctl_start("send", bob.device, str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: moving(his), 20 * SCALE, "content")
    sender.send_signal(signal.SIGSTOP)
    assert moving(his), "it was through before it could be stopped"
    yield sender, receiver, path, his
    for popen in (sender, receiver.popen):
        if popen.poll() is None:
            popen.kill()


@pytest.mark.parametrize("how", ["shrinks", "grows", "changes"])
def test_file_that_changes_while_it_is_sent(under_way, how):
    sender, receiver, path, his = under_way
    with open(path, "r+b") as file:
        if how == "shrinks":
            file.truncate(1000)
        elif how == "grows":
            file.seek(0, os.SEEK_END)
            file.write(b"more")
        else:
            file.write(b"other")
    sender.send_signal(signal.SIGCONT)
    code, _, err = finished(sender)
    assert code == 1 and "while it was sent" in one_line(err)
    code, _, err = receiver.wait()
    assert code == 8 and "nothing is kept" in one_line(err) and "(reset)" in err
    assert tree(his) == {}


def test_file_that_vanishes_while_it_is_sent(under_way):
    """It has no name any more, but all of it can still be read: it arrives."""
    sender, receiver, path, his = under_way
    content = path.read_bytes()
    path.unlink()
    sender.send_signal(signal.SIGCONT)
    assert finished(sender)[0] == 0
    assert receiver.wait()[0] == 0 and (his / "large").read_bytes() == content


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_sender_is_interrupted(under_way, number):
    sender, receiver, _, his = under_way
    sender.send_signal(number)
    sender.send_signal(signal.SIGCONT)
    code, _, err = finished(sender)
    if number == signal.SIGKILL:
        assert code == -9
    else:
        assert code == 128 + number and "interrupted: 0 of 1" in one_line(err)
    code, _, err = receiver.wait()
    assert code == 8 and "(reset)" in one_line(err) and tree(his) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_receiver_is_interrupted(under_way, number):
    sender, receiver, _, his = under_way
    receiver.popen.send_signal(number)
    sender.send_signal(signal.SIGCONT)
    code, _, err = finished(sender)
    assert code == 8 and "(reset)" in one_line(err)
    code, _, err = receiver.wait()
    assert not (his / "large").exists()
    if number == signal.SIGKILL:
        assert code == -9  # what it had is left under its hidden name
    else:
        assert code == 128 + number and "interrupted" in err and tree(his) == {}


def test_connection_is_cut(lab, netns, tmp_path):
    alice, bob = lab.pair("--keepalive", "2")  # a reset that does not fit the stream is for nobody
    path = make(tmp_path / "large", 200 * MEGA)
    his = tmp_path / "his"
    his.mkdir()
    receiver = Receiver(bob, his, "--count", "1")
    sender = alice.ctl_start("send", bob.device, str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: moving(his), 20 * SCALE, "content")
    alice.cut("reset")
    code, _, err = finished(sender)
    assert code == 8 and "(connection-lost)" in one_line(err)
    code, _, err = receiver.wait(60 * SCALE)
    assert code == 8 and one_line(err) and tree(his) == {}
    alice.mend()


def test_daemon_of_the_receiver_stops(lab, tmp_path):
    alice, bob = lab.pair()
    path = make(tmp_path / "large", 200 * MEGA)
    his = tmp_path / "his"
    his.mkdir()
    receiver = Receiver(bob, his, "--count", "1")
    sender = alice.ctl_start("send", bob.device, str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: moving(his), 20 * SCALE, "content")
    bob.kill()
    code, _, err = finished(sender)
    assert code == 8 and one_line(err)
    code, _, err = receiver.wait()
    assert code == 8 and err and tree(his) == {}


@pytest.fixture
def small_disk(disk_of):
    return disk_of(8)


def test_disk_that_is_too_small_is_told_at_once(places, small_disk):
    alice, bob, mine, _ = places
    receiver = Receiver(bob, small_disk, "--count", "1")
    done = alice.ctl("send", bob.device, str(make(mine / "large", 16 * MEGA)))
    assert done.returncode == 1 and "disk is full" in one_line(done.stderr.decode())
    code, _, err = receiver.wait()
    assert code == 1 and ": the disk is full" in one_line(err) and tree(small_disk) == {}


def test_disk_that_fills_at_half(places, small_disk):
    """Files too small to have their room reserved; others take theirs before them."""
    alice, bob, mine, _ = places
    for number in range(16):
        make(mine / f"f{number:02}", 900_000)
    receiver = Receiver(bob, small_disk)
    done = alice.ctl("send", "-r", bob.device, str(mine) + "/.")
    assert done.returncode == 1 and b"disk is full" in done.stderr, done.stderr
    sent = [line for line in done.stdout.decode().splitlines() if ": sent, " in line]
    code, out, _ = receiver.stop()
    assert code == 130 and out.count(": received from ") == len(sent) >= 1
    there = tree(small_disk)
    assert len(there) == len(sent) and not moving(small_disk)
    assert all((mine / name).read_bytes() == content for name, content in there.items())


def test_many_files_of_which_some_fail(places):
    alice, bob, mine, his = places
    files = [make(mine / f"f{number}", 5000) for number in range(20)]
    for number in (3, 7):
        (his / f"f{number}").write_bytes(b"old")
    receiver = Receiver(bob, his, "--count", "20")
    done = alice.ctl("send", bob.device, *map(str, files))
    assert done.returncode == 5 and done.stderr.count(b"\n") == 2, done.stderr
    assert b"18 files sent" in done.stdout and b"2 files failed" in done.stdout
    assert receiver.wait()[0] == 5


def shown_by_send(node, peer, files, term):
    """Its exit code, and all that it shows on a terminal of 100 columns."""
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    sender = node.ctl_start("send", peer.device, *map(str, files), stdout=terminal, stderr=terminal, env={"TERM": term})
    os.close(terminal)
    shown, deadline = b"", Deadline(60 * SCALE)
    while True:
        assert select.select([main], [], [], deadline.left())[0]
        try:
            shown += os.read(main, 65536)
        except OSError:  # EIO: its last user has gone
            break
    os.close(main)
    return sender.wait(), shown


def test_progress_bar_on_a_terminal(places):
    """Bars on a terminal are as wide as it is, and gone at the end; without one there are none."""
    alice, bob, mine, his = places
    files = [make(mine / f"large{n}", sized(60, 100, 200) * MEGA) for n in range(2)]  # bars are drawn ten times a second
    receiver = Receiver(bob, his, "--count", "2")
    code, shown = shown_by_send(alice, bob, files, "xterm")
    assert code == 0 and receiver.wait()[0] == 0
    bars = [line for line in shown.split(b"\x1b[2K") if b"% " in line and b"left" in line]
    assert any(line.startswith(b"total: ") for line in bars) and any(line.startswith(b"large0 ") for line in bars)
    assert {len(line.split(b"\r")[0].split(b"\n")[0]) for line in bars} == {99}
    assert b"2 files sent" in shown.split(b"\x1b[J")[-1]
    assert tree(his) == tree(mine)
