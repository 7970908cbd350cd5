# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon as a service: readiness, reload, watchdog, socket activation, as systemd does them."""
import os
import pathlib
import re
import shutil
import signal
import stat

import pytest
from harness import DAEMON, SCALE, START_SECONDS, STOP_SECONDS, Deadline, Lab, Notify, Process, until

WAIT = 10 * SCALE
NOBODY = 65534


class Listening(Notify):
    """All that the daemon tells the service manager, in order."""

    def __init__(self, path):
        super().__init__(path)
        self.sock.settimeout(WAIT)

    def messages_until(self, last):
        deadline, out = Deadline(WAIT), []
        while not out or last not in out[-1]:
            self.sock.settimeout(max(deadline.left(), 0.001))
            out.append(self.sock.recv(65536).decode().splitlines())
        return out

    def drain(self):
        """What has come already: systemd always reads, and the daemon waits for it."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(65536):
                pass
        except BlockingIOError:
            pass


@pytest.fixture
def notify(lab):
    made = Listening(str(lab.directory / "notify"))
    yield made
    made.close()


@pytest.fixture
def local_lab():
    """For daemons of another user, who may not enter a network namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs a second user, hence root")
    with Lab(mode="loopback") as made:
        made.directory.chmod(0o755)
        yield made


@pytest.fixture
def local_notify(local_lab):
    made = Listening(str(local_lab.directory / "notify"))
    os.chown(made.path, NOBODY, NOBODY)
    yield made
    made.close()


def of_nobody(lab, *options):
    node = lab.node("alice", *options, user=NOBODY)
    for path in [node.directory, *node.directory.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    return node


def start(node, notify, **environment):
    node.launch(NOTIFY_SOCKET=notify.path, **environment)
    assert notify.wait_ready(node.process, START_SECONDS), node.process.log()


def reload(node, notify):
    """SIGHUP; what status says when the daemon is ready again."""
    os.kill(node.process.pid, signal.SIGHUP)
    messages = [m for m in notify.messages_until("READY=1") if m != ["WATCHDOG=1"]]
    assert messages[0][0] == "RELOADING=1" and messages[0][1].startswith("MONOTONIC_USEC="), messages
    assert messages[1:] == [["READY=1"]]
    return node.status()


def test_reload_takes_over_what_it_can_and_names_the_rest(lab, notify):
    conf = lab.directory / "conf"
    conf.write_text("idle-timeout = 100\n", encoding="ascii")
    node = lab.node("alice", "--config", conf, "--max-clients", "9")
    start(node, notify)
    assert node.status()["limits"]["idle_timeout_s"] == 100

    conf.write_text("idle-timeout = 50\nice-request = anyone\nmax-clients = 3\nmax-setups = 7\n", encoding="ascii")
    status = reload(node, notify)
    assert status["limits"]["idle_timeout_s"] == 50
    assert status["ice_request"] == "anyone"
    assert status["limits"]["max_clients"] == 9  # of the command line
    assert status["problems"] == []
    assert "reload idle-timeout: 100 -> 50" in node.process.log()

    conf.write_text("idle-timeout = 50\ndht-max-store = 5\nkeepalive = 7\n", encoding="ascii")
    status = reload(node, notify)
    assert status["ice_request"] == "trusted"
    assert status["limits"]["keepalive_s"] == 30
    assert status["problems"] == ["restart jami-connd for the changes of keepalive, dht-max-store"]

    conf.write_text("idle-timeout = 50\n", encoding="ascii")
    assert reload(node, notify)["problems"] == []


def test_bad_file_at_reload_changes_nothing(lab, notify):
    conf = lab.directory / "conf"
    conf.write_text("idle-timeout = 100\n", encoding="ascii")
    node = lab.node("alice", "--config", conf)
    start(node, notify)
    conf.write_text("idle-timeout = 50\nidle = 3\n", encoding="ascii")
    status = reload(node, notify)
    assert status["limits"]["idle_timeout_s"] == 100
    assert status["problems"] == [f"the configuration was not reloaded: {conf}:2: there is no option 'idle'"]
    assert f"{conf}:2: " in node.process.log()
    conf.unlink()
    assert "no such configuration file" in reload(node, notify)["problems"][0]
    conf.write_text("idle-timeout = 50\n", encoding="ascii")
    status = reload(node, notify)
    assert status["problems"] == [] and status["limits"]["idle_timeout_s"] == 50


def test_many_reloads_at_once_end_with_the_last_file(lab, notify):
    conf = lab.directory / "conf"
    conf.write_text("", encoding="ascii")
    node = lab.node("alice", "--config", conf)
    start(node, notify)
    for number in range(1, 51):
        conf.write_text(f"idle-timeout = {number}\n", encoding="ascii")
        os.kill(node.process.pid, signal.SIGHUP)
        notify.drain()

    def idle_timeout():
        notify.drain()
        return node.status()["limits"]["idle_timeout_s"]

    until(lambda: idle_timeout() == 50, WAIT, "the last file is in effect")


def test_reserved_prefix_by_config(local_lab, local_notify):
    conf = local_lab.directory / "conf"
    conf.write_text("", encoding="ascii")
    node = of_nobody(local_lab, "--config", conf)
    start(node, local_notify)
    before = node.status()
    assert before["problems"] == []
    conf.write_text("reserve = user:daemon file://\n", encoding="ascii")
    assert reload(node, local_notify)["problems"] == []
    # Root may always; the daemon's own user may not any more.
    node.api.call("listen.add", uri="file://a")
    script = f"""import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from api_client import ApiError, Client
with Client({node.socket_path!r}, "nobody") as client:
    client.call("listen.add", uri="other")
    try:
        client.call("listen.add", uri="file://b")
        print("taken")
    except ApiError as error:
        print(error.reason)
"""
    other = Process(["/usr/bin/python3", "-c", script], local_lab.directory / "other.log", user=65534)
    assert other.wait(WAIT) == 0, other.log()
    assert other.log() == "not-permitted\n"


def test_watchdog_hears_of_the_loop(lab, notify):
    node = lab.node("alice")
    start(node, notify, WATCHDOG_USEC="200000")
    for _ in range(5):
        assert ["WATCHDOG=1"] in notify.messages_until("WATCHDOG=1")


def test_stop_is_told_at_its_beginning(lab, notify):
    node = lab.node("alice")
    start(node, notify)
    node.process.popen.terminate()
    assert notify.messages_until("STOPPING=1")
    assert node.process.wait(STOP_SECONDS) == 0


def test_socket_activation(lab, notify):
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        pytest.skip("needs systemd-socket-activate")
    node = lab.node("alice")
    # LISTEN_PID is the daemon's: systemd-socket-activate turns into it when the first client comes.
    command = [activate, "-l", node.socket_path, "-E", f"NOTIFY_SOCKET={notify.path}", *node.arguments()]
    node.process = Process(command, lab.directory / "alice.log", node.namespace, environment=node.environment())
    until(lambda: "Listening on" in node.process.log(), WAIT, "it listens")
    inode = os.stat(node.socket_path).st_ino
    client = node.client()
    assert client.call("hello", client="e2e")["server"] == "jami-connd"
    assert notify.wait_ready(node.process, START_SECONDS)
    with node.client() as second:
        assert second.call("daemon.status")["pid"] == node.process.pid
    assert os.readlink(f"/proc/{node.process.pid}/exe") == os.path.realpath(DAEMON)
    node.stop()
    # It is systemd's, who made it: it stays for the next start.
    assert os.stat(node.socket_path).st_ino == inode


def test_service_of_the_system_manager_runs_as_its_user(local_lab, local_notify):
    node = of_nobody(local_lab)
    start(node, local_notify, RUNTIME_DIRECTORY=str(node.directory))
    assert stat.S_IMODE(os.stat(node.socket_path).st_mode) == 0o660
    assert node.status()["state"] in ("starting", "ready")
    node.api.call("trust.list")


def test_fault_a1_crash_upon_crash_keeps_it_off_the_network_for_a_while(lab):
    node = lab.node("alice", "--crash-pause", "60")
    for _ in range(5):
        node.start(ready=False)
        node.kill()
    node.start(ready=False)
    status = node.status()  # the socket listens at once
    assert status["state"] == "starting"
    assert len(status["problems"]) == 1 and re.fullmatch(
        r"it has ended 5 times in a row without a proper end \(killed, or a crash\): it joins the network in [1-4] s", status["problems"][0]), status
    node.wait_ready()
    assert node.status()["problems"] == []
    node.stop()
    node.start(ready=False)
    assert node.status()["problems"] == []
    assert "in a row" not in node.process.log()
