# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: strangers on the ICE ports, and an environment that does not give what the daemon needs."""
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
from harness import DAEMON, SCALE, START_SECONDS, ApiError, Process, inside, sha256, sized, until
from traffic import Echo, Sender, Sink, round_trip

OPENS = 20


def test_opens_succeed_beside_strangers(lab):
    alice, bob = lab.pair()
    with Echo(bob), lab.strangers(alice, bob) as strangers:
        for number in range(OPENS):
            channel = strangers.open_beside(alice.api, bob, f"echo {number}", timeout=30 * SCALE)
            assert round_trip(channel, b"through") == b"through"
            channel.finish()
            assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
            channel.close()
            alice.api.call("connection.close", peer=bob.device)
            until(lambda: not alice.connections(bob) and not bob.connections(alice), 20 * SCALE, "no connection")
    print(f"{strangers.made} strangers wrote {strangers.written} bytes")
    assert strangers.made >= 4 * OPENS


def test_transfer_beside_strangers(lab):
    alice, bob = lab.pair()
    size = sized(16, 200, 1000) << 20
    with Sink(bob) as sink, lab.strangers(alice, bob) as strangers:
        channel = strangers.open_beside(alice.api, bob, "sink")
        sender = Sender(channel, size)
        sender.start()
        sender.join(120)
        channel.finish()
        assert channel.receive_all() == b"" and channel.end()["reason"] == "closed"
    assert strangers.made > 0
    assert sink.sums["sink"].hexdigest() == sender.digest


def fails(node, timeout=START_SECONDS, **environment):
    """Starts a daemon that cannot run: its exit code and what it says of it."""
    process = node.launch(**environment)
    code = process.wait(timeout)
    assert code != 0
    return complaint(process.log())


def complaint(log):
    """The one line that says why: an error of the log, or all there is."""
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or line.startswith("jami-connd:")]
    assert len(errors) == 1, log
    return errors[0]


def test_taken_control_socket(lab):
    alice = lab.node("alice").start()
    other = lab.node("other")
    other.socket_path = alice.socket_path
    assert alice.socket_path in fails(other)
    assert alice.api.call("hello", client="unharmed")["ready"]


def test_taken_state_dir(lab):
    alice = lab.node("alice").start()
    other = lab.node("other")
    other.state = alice.state
    line = fails(other)
    assert str(alice.state) in line
    assert alice.api.call("hello", client="unharmed")["ready"]


def test_taken_dht_port(lab):
    alice = lab.node("alice", "--dht-port", "4333")
    taken = inside(alice.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with taken:
        taken.bind(("0.0.0.0", 4333))
        assert "4333" in says_or_degraded(alice)


def says_or_degraded(node):
    """A daemon that either ends with one clear line, or runs and says in its status what is wrong: what it says."""
    process = node.launch()
    problems = until(lambda: problems_of(node) if process.running() else ["ended"], START_SECONDS, "an end, or a problem")
    if process.running():
        node.stop()
        return "; ".join(problems)
    assert process.wait(START_SECONDS) != 0
    return complaint(process.log())


def problems_of(node):
    try:
        with node.client() as client:
            return client.call("daemon.status")["problems"]
    except (ConnectionError, OSError):
        return []  # not there yet, or no more


def test_state_dir_on_a_read_only_file_system(netns, lab):
    alice = lab.node("alice")
    mounted = lab.directory / "ro"
    with Mount(mounted, "size=1m"):
        shutil.copytree(alice.state, mounted / "state")
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        alice.state = mounted / "state"
        assert "ead-only" in says_or_degraded(alice)


def test_state_dir_that_cannot_be_made(lab):
    alice = lab.node("alice")
    (lab.directory / "file").write_text("not a directory", encoding="ascii")
    alice.state = lab.directory / "file" / "state"
    assert str(alice.state) in fails(alice)


def test_damaged_identity_is_never_replaced(lab):
    alice = lab.node("alice")
    key = alice.state / "identity" / "device.key"
    key.write_bytes(key.read_bytes()[:100])
    before = {path: path.read_bytes() for path in (alice.state / "identity").iterdir()}
    said = says_or_degraded(alice)
    assert "device.key" in said, said
    assert before == {path: path.read_bytes() for path in (alice.state / "identity").iterdir()}


class Mount:
    """A small file system in memory."""

    def __init__(self, path, options):
        self.path, self.options = path, options

    def __enter__(self):
        pathlib.Path(self.path).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"{self.options},mode=0700", "tmpfs", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)


def test_full_disk(netns, lab):
    alice, bob = lab.node("alice"), lab.node("bob").start()
    mounted = lab.directory / "full"
    with Mount(mounted, "size=256k"):
        shutil.copytree(alice.state, mounted / "state")
        alice.state = mounted / "state"
        alice.start()
        filler = mounted / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 512)
        # Nothing that cannot be kept is acknowledged; the daemon goes on and says what is wrong.
        message, _ = alice.api.message_for(alice.api.send("trust.allow", id=bob.device), 10)
        assert "error" in message, message
        assert alice.api.call("trust.list")["entries"] == []
        with Echo(bob):
            bob.allow(alice)
            assert round_trip(alice.api.open(bob.device, "echo"), b"works") == b"works"
        filler.unlink()
        alice.api.call("trust.allow", id=bob.device)
        alice.kill()
        alice.start()
        assert [entry["id"] for entry in alice.api.call("trust.list")["entries"]] == [bob.device]
        alice.stop()


def test_no_free_fd(lab):
    """Clients take all that the daemon may hold: it refuses, clearly, and recovers."""
    alice = lab.node("alice", nofile=128).start()
    taken, refused = [], False
    try:
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(60 * SCALE)
            client.connect(alice.socket_path)
            taken.append(client)
            client.send(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"client":"many"}}\n')
            answer = client.recv(65536)
            if b"resource-limit" in answer:
                refused = True
                break
            assert b'"result"' in answer, answer
    except (TimeoutError, OSError) as error:
        raise AssertionError(f"client {len(taken)} was neither served nor refused") from error
    finally:
        for client in taken:
            client.close()
    assert refused
    assert until(lambda: hello_answers(alice), 10, "room again")


def hello_answers(node):
    try:
        with node.client() as client:
            return client.hello["server"] == "jami-connd"
    except (ApiError, ConnectionError, OSError):  # it has not noticed that the others have gone
        return False


def test_too_few_files_to_start(lab):
    alice = lab.node("alice", nofile=24)
    assert says_or_degraded(alice)


USAGE = [["--no-such-option"], ["--dht-port", "70000"], ["--ice-request", "maybe"], ["--bootstrap", "host:port:more:x"],
         ["--log-level", "loud"], ["stray"]]


@pytest.mark.parametrize("number", range(len(USAGE)))
def test_usage_errors(lab_directory, number):
    process = Process([DAEMON, "--state-dir", lab_directory / "s", "--socket", lab_directory / "c", *USAGE[number]],
                      lab_directory / f"log.{number}")
    assert process.wait(START_SECONDS) == 2
    assert process.log().strip() and not (lab_directory / "s").exists()


@pytest.fixture
def lab_directory(tmp_path):
    return tmp_path


def test_garbage_on_every_port_when_idle(lab):
    """After take-over there are no listening ports left for strangers, and the connection lives."""
    alice, bob = lab.pair()
    with Echo(bob):
        channel = alice.api.open(bob.device, "echo")
        with lab.strangers(alice, bob):
            data = os.urandom(1 << 20)
            for _ in range(20):
                sender = Sender(channel, None)
                sender.block, sender.total = data, len(data)
                sender.start()
                assert sha256(channel.receive(len(data))) == sha256(data)
                sender.join(60 * SCALE)


def test_garbage_to_the_dht_port(netns, lab):
    alice, bob = lab.pair()
    alice.junk = True
    port = alice.status()["dht"]["port"]
    sock = inside(bob.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with sock, Echo(bob):
        for number in range(2000):
            # Every fourth is a msgpack array or map of 2^32 - 1 elements, of which the DHT's parser believes the length.
            huge = (b"\xdd", b"\xdf")[number // 4 % 2] + b"\xff" * 4 if number % 4 == 0 else b""
            sock.sendto(huge + os.urandom(200), (alice.address, port))
        assert round_trip(alice.api.open(bob.device, "echo"), b"on") == b"on"
