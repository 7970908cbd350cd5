# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/examples as strangers run them, against real daemons: contents, half close, exit codes."""
import ast
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest
from harness import BUILD, CTL, LIBC, PR_SET_PDEATHSIG, ROOT, SCALE, sha256, sized, until

EXAMPLES = pathlib.Path(os.environ.get("CONND_EXAMPLES") or ROOT / "tools/examples")
TWO_FILES = os.environ.get("CONND_TWO_FILES") or str(BUILD / "tools/examples/two_files")
PROTOCOL = pathlib.Path(os.environ.get("CONND_PROTOCOL") or ROOT / "ipc/PROTOCOL.md")
CLIENT = str(EXAMPLES / "client.py")
SOCAT = str(EXAMPLES / "socat.sh")
SECONDS = 60 * SCALE
NOBODY = "5a" * 32
ACCEPTS = 0x10000  # linux/net.h: __SO_ACCEPTCON, among the flags in /proc/net/unix


def environment(node):
    """They find the daemon as any app, and jami-connctl in the PATH."""
    return node.environment() | {"JAMI_CONND_SOCKET": node.socket_path, "PATH": f"{os.path.dirname(CTL)}:{os.environ['PATH']}"}


def start(node, *command, **options):
    """A program on this node; it ends with the lab."""
    popen = subprocess.Popen(command, env=environment(node), preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)
    node.lab.helpers.append(popen)
    return popen


def done(node, *command, **options):
    return subprocess.run(command, env=environment(node), capture_output=True, timeout=SECONDS, check=False, **options)


def listening(node, *command, **options):
    """The same as start, but waits until the daemon has its listener."""
    before = node.status()["counts"]["listeners"]
    popen = start(node, *command, **options)
    until(lambda: node.status()["counts"]["listeners"] > before or popen.poll() is not None, SECONDS, "listener")
    assert popen.poll() is None
    return popen


def stop(popen, how=signal.SIGTERM):
    popen.send_signal(how)
    popen.wait(60 * SCALE)
    if popen.stdout:
        popen.stdout.close()


# ---- client.py ----


def test_client_is_short_and_of_the_standard_library_alone():
    text = pathlib.Path(CLIENT).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert "socket" in imported and imported <= set(sys.stdlib_module_names)


def test_client_opens_to_client_that_echoes(pair):
    alice, bob = pair
    listener = listening(bob, CLIENT, "listen", "py*", stdout=subprocess.PIPE)
    assert listener.stdout.readline() == b"listening\n"
    data = os.urandom(sized(2, 20, 200) << 20)
    came = done(alice, CLIENT, "open", bob.device, "py1", input=data)
    assert (came.returncode, came.stderr) == (0, b"")
    assert sha256(came.stdout) == sha256(data)
    opened, closed = listener.stdout.readline().decode().split(), listener.stdout.readline().decode().split()
    assert opened[0] == "opened" and opened[2:] == [alice.device, '"py1"']
    assert closed == ["closed", opened[1], "closed", str(len(data)), str(len(data))]
    stop(listener)


def test_client_half_close(pair):
    """The other side answers after our end, and we say more after its end."""
    alice, bob = pair
    bob.api.call("listen.add", uri="half", strict_end=True)
    first = start(alice, CLIENT, "open", bob.device, "half", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    channel = bob.api.incoming(uri="half")
    first.stdin.write(b"question")
    first.stdin.close()
    assert channel.receive_all() == b"question"
    channel.send(b"answer")
    channel.finish()
    assert (first.stdout.read(), first.wait(60 * SCALE)) == (b"answer", 0)
    assert channel.end()["reason"] == "closed"

    second = start(alice, CLIENT, "open", bob.device, "half", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    channel = bob.api.incoming(uri="half")
    channel.send(b"hello")
    channel.finish()
    assert second.stdout.read() == b"hello"
    assert second.poll() is None
    second.stdin.write(b"late")
    second.stdin.close()
    assert (channel.receive_all(), second.wait(60 * SCALE)) == (b"late", 0)
    assert channel.end()["reason"] == "closed"


def test_client_exit_codes(pair):
    alice, bob = pair
    assert done(alice, CLIENT).returncode != 0
    unheard = done(alice, CLIENT, "open", bob.device, "unheard", input=b"x")
    assert (unheard.returncode, unheard.stderr) == (1, b"client.py: nobody listens for this name\n")
    absent = subprocess.run([CLIENT, "open", "x", "y"], env=environment(alice) | {"JAMI_CONND_SOCKET": "/nonexistent"},
                            capture_output=True, check=False, timeout=SECONDS)
    assert (absent.returncode, absent.stderr) == (1, b"client.py: no jami-connd answers\n")
    # What was cut off does not look whole: neither here …
    bob.api.call("listen.add", uri="cut")
    opener = start(alice, CLIENT, "open", bob.device, "cut", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    channel = bob.api.incoming(uri="cut")
    channel.send(b"part")
    assert opener.stdout.read(4) == b"part"
    bob.api.call("channel.close", channel=channel.handle)
    _, text = opener.communicate(timeout=SECONDS)
    assert (opener.returncode, text) == (1, b"client.py: the channel ended with reset\n")
    # … nor at the other side, when the client is killed, or nobody takes its output.
    opener = start(alice, CLIENT, "open", bob.device, "cut", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    channel = bob.api.incoming(uri="cut")
    opener.kill()
    assert channel.end()["reason"] == "reset"
    opener = start(alice, CLIENT, "open", bob.device, "cut", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    channel = bob.api.incoming(uri="cut")
    opener.stdout.close()
    channel.send(b"for nobody")
    assert channel.end()["reason"] == "reset"
    assert opener.wait(60 * SCALE) == 1
    # A name is taken once.
    taken = listening(bob, CLIENT, "listen", "taken", stdout=subprocess.DEVNULL)
    assert done(bob, CLIENT, "listen", "taken").returncode == 1
    stop(taken)


def test_client_in_the_protocol_document(pair):
    """The one that is printed in ipc/PROTOCOL.md, as it is printed."""
    alice, bob = pair
    code = PROTOCOL.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    # Not in tmp_path: a socket's path has 107 bytes.
    runtime = alice.directory / "runtime"
    (runtime / "jami-connd").mkdir(parents=True)
    (runtime / "jami-connd/control.sock").symlink_to(alice.socket_path)
    alice.api.call("alias.set", name="bob", device=bob.device)
    bob.api.call("listen.add", uri="file://file1", strict_end=True)
    program = start(alice, "env", f"XDG_RUNTIME_DIR={runtime}", sys.executable, "-c", code, stdout=subprocess.PIPE)
    channel = bob.api.incoming(uri="file://file1")
    assert channel.receive_all() == b"hello"
    channel.finish()
    assert (program.stdout.read(), program.wait(60 * SCALE)) == (b"sent\n", 0)
    assert channel.end()["reason"] == "closed"
    alice.api.call("alias.remove", name="bob")


# ---- two_files ----


@pytest.fixture
def files(tmp_path):
    """Two files, one of them empty in no run: (paths, contents, the receiver's directory)."""
    contents = [os.urandom(sized(1, 30, 300) << 20), os.urandom(12_345)]
    paths = [tmp_path / "one", tmp_path / "two"]
    for path, data in zip(paths, contents):
        path.write_bytes(data)
    target = tmp_path / "received"
    target.mkdir()
    return paths, contents, target


def test_two_files(pair, files):
    alice, bob = pair
    paths, contents, target = files
    receiver = listening(bob, TWO_FILES, "receive", str(target), stdout=subprocess.PIPE)
    sent = done(alice, TWO_FILES, "send", bob.device, *map(str, paths))
    text = receiver.stdout.read().decode()
    assert (sent.returncode, receiver.wait(60 * SCALE)) == (0, 0), sent.stderr
    for number, data in enumerate(contents, 1):
        assert sha256((target / f"file{number}").read_bytes()) == sha256(data)
        line = f"file://file{number}: {len(data)} bytes\n"
        assert line in text and line in sent.stdout.decode()
    assert sorted(os.listdir(target)) == ["file1", "file2"]
    assert len(alice.connections(bob)) == 1


def test_two_files_that_nobody_takes(pair, files):
    alice, bob = pair
    paths, _, _ = files
    usage = done(alice, TWO_FILES, "send")
    assert usage.returncode == 2 and usage.stderr.startswith(b"usage: ")
    unheard = done(alice, TWO_FILES, "send", bob.device, *map(str, paths))
    assert unheard.returncode == 5
    assert unheard.stderr.decode().splitlines() == [f"file://file{n}: nobody listens for this name" for n in (1, 2)]
    nobody = done(alice, TWO_FILES, "send", NOBODY, *map(str, paths))
    assert nobody.returncode == 4
    absent = subprocess.run([TWO_FILES, "receive", "/tmp"], env=environment(alice) | {"JAMI_CONND_SOCKET": "/nonexistent"},
                            capture_output=True, check=False, timeout=SECONDS)
    assert absent.returncode == 3


def test_two_files_one_cut_off(pair, files):
    """The receiver keeps what is whole, and gives no file its name that is not."""
    alice, bob = pair
    _, _, target = files
    receiver = listening(bob, TWO_FILES, "receive", str(target), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    whole = alice.api.open(bob.device, "file://file1", strict_end=True)
    cut = alice.api.open(bob.device, "file://file2", strict_end=True)
    for other in ("file://file1", "file://../file3"):
        with pytest.raises(Exception, match="declined"):
            alice.api.open(bob.device, other)
    whole.send(b"whole")
    whole.finish()
    cut.send(b"part")
    until(lambda: (target / "file2.part").read_bytes() == b"part", SECONDS, "the part is there")
    alice.api.call("channel.close", channel=cut.handle)
    _, text = receiver.communicate(timeout=SECONDS)
    assert receiver.returncode == 8 and text.startswith(b"file://file2: ")
    assert (target / "file1").read_bytes() == b"whole"
    assert sorted(os.listdir(target)) == ["file1", "file2.part"]


# ---- socat.sh ----


class Echo:
    """A server that reads to the end, then says how much it was, in a Unix socket: it needs the half close."""

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    @staticmethod
    def _answer(client):
        with client, client.makefile("rb") as stream:
            data = stream.read()
            client.sendall(f"{len(data)} {sha256(data)}\n".encode() + data)

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def ask(address, data):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(SECONDS)
        client.connect(address)
        writer = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        writer.start()
        with client.makefile("rb") as stream:
            head, body = stream.readline(), stream.read()
        writer.join()
    return head.decode().split(), body


def free_tcp_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unix_listens(path, process):
    """A socket that is there, but does not listen yet, refuses."""
    with open(f"/proc/{process.pid}/net/unix", encoding="utf-8") as table:
        rows = [row.split() for row in table.readlines()[1:]]
    return any(row[-1] == path and int(row[3], 16) & ACCEPTS for row in rows)


def tcp_listens(port):
    return f":{port:04X} 00000000:0000 0A " in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_socat(pair, tmp_path, kind):
    alice, bob = pair
    server = Echo(tmp_path / "server")
    served = listening(bob, SOCAT, "serve", f"web:{kind}", f"UNIX-CONNECT:{tmp_path / 'server'}")
    path, port = str(tmp_path / "local"), free_tcp_port()
    address = path if kind == "unix" else ("127.0.0.1", port)
    local = f"UNIX-LISTEN:{path}" if kind == "unix" else f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"
    forward = start(alice, SOCAT, "forward", local, bob.device, f"web:{kind}")
    until(lambda: unix_listens(path, forward) if kind == "unix" else tcp_listens(port), SECONDS, "socat listens")
    for size in (0, 5, sized(1, 20, 200) << 20):
        data = os.urandom(size)
        head, body = ask(address, data)
        assert head == [str(size), sha256(data)] and sha256(body) == sha256(data)
    stop(forward)
    stop(served)
    server.close()


def test_socat_server_ends_first(pair, tmp_path):
    """As many servers do: the end reaches the client, though that has not ended."""
    alice, bob = pair
    served = listening(bob, "env", "QUIET_S=1", SOCAT, "serve", "first", "SYSTEM:echo hello")
    path = str(tmp_path / "local")
    forward = start(alice, SOCAT, "forward", f"UNIX-LISTEN:{path}", bob.device, "first")
    until(lambda: unix_listens(path, forward), SECONDS, "socat listens")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(path)
        with client.makefile("rb") as stream:
            assert stream.read() == b"hello\n"
    stop(forward)
    stop(served)


def test_socat_usage(pair):
    usage = done(pair[0], SOCAT, "forward")
    assert usage.returncode == 2 and usage.stderr.startswith(b"Carries connections")
