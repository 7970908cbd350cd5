# SPDX-License-Identifier: GPL-3.0-or-later
"""One cell of the matrix: a network, the DHT's first node and two daemons, and what becomes of an open in each direction."""
import pathlib
import re
import sys
import threading
import time

import kinds
import network

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from api_client import ApiError, Client  # noqa: E402
from harness import identity  # noqa: E402
from processes import CTL, DAEMON, SCALE, Notify, Process, until  # noqa: E402

URI = "nat"
ROOM = pathlib.Path("/run/nat")  # of this world's own, and gone with it
# How long is waited for a DHT where UDP is let out.
DHT_SECONDS = 20 * SCALE
# And where it is not: nothing comes of it today.
NO_DHT_SECONDS = 2


class Host:
    """A daemon in one of the namespaces."""

    def __init__(self, name, number, options):
        self.name = name
        self.directory = ROOM / name
        self.directory.mkdir(parents=True)
        self.socket = str(self.directory / "s")
        identity(number, self.directory / "state")
        self.command = [DAEMON, "--state-dir", self.directory / "state", "--socket", self.socket, "--log-level", "debug",
                        "--no-lan-discovery", "--crash-pause", "0", *options]
        self.process = self.notify = self.api = None

    def launch(self):
        self.notify = Notify(str(self.directory / "n"))
        environment = {"XDG_CONFIG_HOME": str(self.directory), "NOTIFY_SOCKET": self.notify.path, "PATH": "/usr/bin:/bin"}
        self.process = Process(self.command, self.directory / "log", self.name, environment=environment)
        return self

    def ready(self):
        if not self.notify.wait_ready(self.process, 60 * SCALE):
            raise RuntimeError(f"the daemon of {self.name} has ended: {self.process.log()[-2000:]}")
        self.api = Client(self.socket, "nat")
        return self

    def has_identity(self):
        until(lambda: self.api.call("hello", client="nat").get("device"), 60 * SCALE, "its identity")
        self.device = self.api.call("hello", client="nat")["device"]

    def status(self):
        return self.api.call("daemon.status")

    def on_dht(self, seconds):
        """Whether it is on the DHT, in that time."""
        end = time.monotonic() + seconds
        while self.status()["dht"]["state"] != "connected":
            if time.monotonic() > end:
                return False
            self.api.pump(0.05)
        return True

    def connections(self):
        return self.api.call("connection.list")["connections"]


def start(net, options=()):
    """The DHT's first node, and a daemon in each host: Host by name. Each is told of the bootstrap node, and of nothing else."""
    bootstrap = [part for place in net.bootstrap() for part in ("--bootstrap", place)]
    hosts = {"P": Host("P", 0, ["--bootstrap", "none", "--dht-port", str(network.DHT_PORT), *options])}
    for number, name in enumerate(["a", "b", *net.siblings], start=1):
        hosts[name] = Host(name, number, [*bootstrap, *options])
    for host in hosts.values():
        host.launch()
    for host in hosts.values():
        host.ready()
    for host in hosts.values():
        host.has_identity()
    a, b = hosts["a"], hosts["b"]
    for one, other in ((a, b), (b, a)):
        one.api.call("trust.allow", id=other.device)
        one.api.call("listen.add", uri=URI)
    return hosts


def way_of(caller, callee):
    """By what the two are connected, and between which addresses: as both see it."""
    mine = [c for c in caller.connections() if c["peer"] == callee.device]
    theirs = [c for c in callee.connections() if c["peer"] == caller.device]
    if not mine or not theirs:
        return "no", "", ""
    local, remote = mine[0].get("local_address", ""), mine[0].get("remote_address", "")
    far_local, far_remote = theirs[0].get("local_address", ""), theirs[0].get("remote_address", "")
    told = mine[0].get("path", "")
    if "relay" in told:
        way = "relay"
    elif remote == far_local or far_remote == local:
        way = "direct"  # one of them was reached at its own address
    else:
        way = "punched"
    return way, told, f"{local} > {remote}, {far_local} > {far_remote}"


def pour(channel, far, size):
    """MB/s of so many bytes in one stream."""
    block = bytes(1 << 20)

    def push():
        for _ in range(size >> 20):
            channel.send(block)

    began = time.monotonic()
    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    got = len(far.receive(size, 60))
    thread.join(1)
    return got / 1e6 / (time.monotonic() - began)


def one_way(caller, callee, seconds, size):
    """An open, and what came of it."""
    out = {"from": caller.name, "to": callee.name}
    began = time.monotonic()
    try:
        channel = caller.api.open(callee.device, URI, timeout=seconds)
    except ApiError as error:
        return out | {"way": "no", "reason": error.reason, "detail": error.detail, "seconds": round(time.monotonic() - began, 2)}
    out["channel_s"] = round(time.monotonic() - began, 3)
    far = callee.api.incoming()
    far.send(b"!")
    channel.receive(1)
    out["first_byte_s"] = round(time.monotonic() - began, 3)
    if size:
        out["MB_s"] = round(pour(channel, far, size), 1)
    out["way"], out["told"], out["addresses"] = way_of(caller, callee)
    channel.close()
    far.close()
    caller.api.call("connection.close", peer=callee.device)
    for host in (caller, callee):
        until(lambda host=host: not host.connections(), 30 * SCALE, "the connection has ended")
    return out


def cell(a, b, seconds, size, options=(), rtt_ms=network.RTT_MS, loss=0.0):
    """Both directions. A dictionary for people and programs."""
    net = network.Network(a, b, rtt_ms, loss=loss)
    hosts = start(net, options)
    out = {"a": a, "b": b, "physics": kinds.physics(a, b), "delay": net.slow, "dht": {}, "opens": []}
    for name, kind in (("a", a), ("b", b)):
        out["dht"][name] = hosts[name].on_dht(NO_DHT_SECONDS if kind in kinds.NO_DHT else DHT_SECONDS)
    for one, other in (("a", "b"), ("b", "a")):
        out["opens"].append(one_way(hosts[one], hosts[other], seconds, size))
    for name, kind in (("a", a), ("b", b)):
        # What its candidates tell of besides its own addresses (a relay of the peer's lets in nobody else).
        told = " ".join(re.findall(r'seen at addresses="(.*?)"', hosts[name].process.log())).split()
        if out["dht"][name] and net.public_address(name) not in told:
            out.setdefault("problems", []).append(f"{name} does not know that it is seen at {net.public_address(name)}, but {told}")
    for host in hosts.values():
        host.process.popen.terminate()
    out["ended"] = [host.process.wait(30 * SCALE) for host in hosts.values()]
    out["links"] = net.links_report().splitlines()
    return out


__all__ = ["CTL", "DAEMON", "Host", "ROOM", "cell", "start"]
