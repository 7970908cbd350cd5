# SPDX-License-Identifier: GPL-3.0-or-later
"""Real daemons on a private network: start, stop, freeze, cut and look into them.

    with Lab() as lab:
        alice, bob = lab.pair()
        bob.api.call("listen.add", uri="echo")
        channel = alice.api.open(bob.device, "echo")

Two modes. `netns` (root): each node has a network namespace of its own, all joined by a bridge in one more, where the
DHT's first node runs. `loopback` (anybody): all run in the network that is there. CONND_E2E_MODE chooses; without it,
netns if this may be done. Every process is stopped by its pid, and dies with this one (PR_SET_PDEATHSIG); what a killed
run left behind is swept by the next one.
"""
import atexit
import contextlib
import fcntl
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile

from api_client import ApiError, Client, Deadline
from api_proxy import ApiProxy
from processes import (  # also for those who import them from here
    BUILD, CTL, DAEMON, DHT_PORT, FILES, FULL, LIBC, MAKE_IDENTITY, NET, PREFIX, PR_SET_PDEATHSIG, READY_SECONDS,
    REPORTS, ROOT, SANITIZER, SCALE, START_SECONDS, STOP_SECONDS, Late, Notify, Process, as_many_channels,
    as_many_from_each_side, binary, default_mode, enter, inside, kept_waiting, lost_datagrams, namespaces_allowed, open_files, read_until, run, sha256, sized, sweep,
    until,
)


# ---- identities ----


def identity(number, target):
    """Copies ready-made identity `number` (RSA 2048) to a state directory; made once per build, then kept."""
    cache = pathlib.Path(os.environ.get("CONND_E2E_CACHE") or BUILD / "e2e-identities")
    stamp = int(os.stat(MAKE_IDENTITY).st_mtime)
    base = cache / str(stamp)
    base.mkdir(parents=True, exist_ok=True)
    with open(base / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = base / str(number)
        if not made.exists():
            fresh = base / f"{number}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            run(MAKE_IDENTITY, str(fresh), "2048")
            fresh.rename(made)
    shutil.copytree(made, target, ignore=shutil.ignore_patterns("lock"))


# ---- nodes ----


class Node:
    """One daemon, its state directory and its place on the network."""

    def __init__(self, lab, name, number, options, nofile=None, bootstrap=None, lan_discovery=False, user=None):
        self.lab = lab
        self.name = name
        self.number = number
        self.preload = {}  # further variables of its environment
        self.moves = 0
        self.junk = False  # a test sends it what no node says
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.state = self.directory / "state"
        self.socket_path = self.ctl_socket = str(self.directory / "s")
        self.namespace = lab.add_namespace(name, number) if lab.mode == "netns" else None
        self.address = f"{NET}{number + 10}" if self.namespace else lab.loopback_address()
        self.options = list(options)
        self.bootstrap = [lab.dht_address()] if bootstrap is None else bootstrap
        self.lan_discovery = lan_discovery
        self.nofile = nofile
        self.user = user
        self.process = None
        self.runs = 0
        self.apis = []
        self._api = None
        self.hello = None

    # -- life --

    def arguments(self):
        out = [DAEMON, "--state-dir", self.state, "--socket", self.socket_path, "--log-level", "debug"]
        for place in self.bootstrap or ["none"]:
            out += ["--bootstrap", place]
        if not self.lan_discovery:
            out.append("--no-lan-discovery")
        if "--crash-pause" not in self.options:
            out += ["--crash-pause", "0"]  # whoever kills it wants it back at once
        if os.geteuid() != 0:
            out.append("--debuggable")  # a plain user would not see its /proc/PID/fd
        return [str(part) for part in out + self.options]

    def environment(self, **more):
        keep = {key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS") or key in ("PATH", "HOME")}
        # Nobody's own configuration file.
        return keep | {"XDG_CONFIG_HOME": str(self.directory)} | more | self.preload

    def launch(self, **environment):
        """Starts the daemon without waiting for anything."""
        self.runs += 1
        log = self.directory / f"log.{self.runs}"
        self.process = Process(self.arguments(), log, self.namespace, self.nofile, self.environment(**environment),
                               user=self.user)
        return self.process

    def start(self, ready=True):
        """Starts the daemon; returns when its control socket listens, and, if wanted, when it is on the DHT."""
        notify = Notify(str(self.directory / "n"))
        self.launch(NOTIFY_SOCKET=notify.path)
        came = notify.wait_ready(self.process, START_SECONDS)
        notify.close()
        assert came, f"{self.name} ended with {self.process.wait(1)}:\n{self.process.log()[-4000:]}"
        self._api = None
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=READY_SECONDS):
        with self.client("wait_ready") as client:
            def connected():
                self.hello = client.call("hello", client="wait_ready")
                return self.hello["ready"] and client.call("daemon.status")["dht"]["state"] == "connected"

            until(connected, timeout, f"{self.name} is ready and on the DHT")
        return self

    def stop(self, expect=0):
        """SIGTERM; the daemon ends by itself, in time, and with no complaint of a sanitizer."""
        self.check_gate()
        self.close_clients()
        self.process.popen.terminate()
        code = self.process.wait(STOP_SECONDS)
        self.check_log()
        assert code == expect, f"{self.name} ended with {code}:\n{self.process.log()[-4000:]}"

    def kill(self):
        """SIGKILL."""
        self.close_clients()
        self.process.kill()

    def check_gate(self):
        """What nodes say to each other is all let through: whatever was dropped was junk, which only tests send that say so.
        (What was not sent is another matter: a node that has gone proves nothing.)"""
        if self.junk or not self.process.running() or not os.path.exists(self.socket_path):
            return
        try:
            with Client(self.socket_path, "check_gate") as client:
                metrics = client.call("daemon.status", timeout_s=5)["metrics"]
            lost = lost_datagrams(self.process.pid)
        except (OSError, ApiError, TimeoutError, AssertionError):
            return  # full, frozen, or on its way out: that is for the test to judge
        dropped = {name: count for name, count in metrics.items() if name.startswith("dht_dropped_") and count}
        for ours in ("address_unproved", "no_room_to_hold", "rate_of_address"):
            dropped.pop(f"dht_dropped_{ours}", None)
        # Of a value of many datagrams some came when the socket was full: net.core.rmem_max may be 208 KiB, and the machine busy.
        if self.lab.interrupted or lost:
            dropped.pop("dht_dropped_stray_part", None)
        assert not dropped, f"{self.name} dropped what nodes say: {dropped}"

    def check_log(self):
        text = self.process.log()
        for report in REPORTS:
            assert report not in text, f"{self.name}:\n{text[text.index(report) - 200:][:8000]}"

    def freeze(self):
        self.lab.interrupted = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    # -- network --

    def cut(self, how="drop"):
        """From now on all TCP and UDP of this node is dropped. With the others the DHT goes on: "reset": TCP is answered by a
        reset; "blackhole": by nothing; "deaf": TCP goes out, and what comes in is dropped; "firewall": nobody may connect
        to it. Takes the place of another cut, with no moment between."""
        self.lab.interrupted = True
        # The reset itself has to pass: the other side would wait for its keepalive.
        reset = "meta l4proto tcp tcp flags & rst == 0 reject with tcp reset"
        tcp = "meta l4proto tcp drop"
        verdict = {"drop": "meta l4proto { tcp, udp } drop", "reset": reset, "blackhole": tcp, "deaf": tcp,
                   "firewall": "tcp flags & (syn | ack) == syn drop"}[how]
        hooks = ("input",) if how in ("deaf", "firewall") else ("input", "output")
        rules = "table ip cut {}\ndelete table ip cut\ntable ip cut {\n" + "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; {verdict}; }}\n" for hook in hooks) + "}\n"
        inside(self.namespace, lambda: run("nft", "-f", "-", input=rules))

    def mend(self):
        inside(self.namespace, lambda: run("nft", "delete", "table", "ip", "cut"))

    def slow(self, kbit):
        """From now on what this node sends goes out at that pace, behind up to 4 MiB. False: the kernel has no such queue."""
        try:
            run("tc", "-n", self.namespace, "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kbit}kbit", "burst", "16k", "limit", "4m")
        except subprocess.CalledProcessError:
            return False
        return True

    def add_address(self, address):
        run("ip", "-n", self.namespace, "addr", "add", address, "dev", "eth0")

    def move(self):
        """The network changes: the address is removed, another one comes."""
        self.lab.interrupted = True
        former, self.moves = self.address, self.moves + 1
        self.address = f"{NET}{self.number + 10 + 50 * self.moves}"
        # In this order: a second address of a network goes with the first.
        run("ip", "-n", self.namespace, "-batch", "-", input=f"""addr del {former}/24 dev eth0
            addr add {self.address}/24 dev eth0
            route add default via {NET}1""")

    # -- looking into it --

    def client(self, name="e2e"):
        client = Client(self.socket_path, name)
        self.apis.append(client)
        return client

    @property
    def api(self):
        """A client for the main thread, made when first used, and anew when it was lost."""
        if self._api is None or self._api.gone:
            self._api = self.client()
        return self._api

    def close_clients(self):
        for client in self.apis:
            client.close()
        self.apis, self._api = [], None

    def close_all(self):
        """The clients, and their channels: a test that failed leaves them to the next, for its traceback holds its frames."""
        for channel in [channel for client in self.apis for channel in client.channels]:
            channel.drop()
        self.close_clients()

    @property
    def device(self):
        return self.hello["device"]

    @property
    def account(self):
        return self.hello["account"]

    def status(self):
        return self.api.call("daemon.status")

    def connections(self, peer=None):
        return [c for c in self.api.call("connection.list")["connections"] if peer is None or c["peer"] == peer.device]

    def allow(self, *peers):
        for peer in peers:
            self.api.call("trust.allow", id=peer.device)

    def rss(self):
        """Resident bytes."""
        return self._memory("VmRSS:")

    def forget_peak(self):
        """From now on `peak` is what was resident at most since; what is resident now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")  # proc(5)
        return self.rss()

    def peak(self):
        return self._memory("VmHWM:")

    def _memory(self, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise ValueError(f"no {name}")

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def files(self):
        """What its descriptors are, by their numbers."""
        return open_files(self.process.pid)

    @contextlib.contextmanager
    def checked(self):
        """Inside, what the command line and the daemon say is held to the schema. A program that tells the daemon something
        and then closes a channel may be overtaken by itself: of no use for those."""
        proxy = ApiProxy(str(self.directory / "p"), self.socket_path)
        self.ctl_socket = proxy.path
        try:
            yield proxy
        finally:
            self.ctl_socket = self.socket_path
            proxy.close()
        assert not proxy.problems, proxy.problems[:5]

    def ctl(self, *arguments, **options):
        """The command-line client, run to its end."""
        options = {"capture_output": True, "timeout": 120 * SCALE, "check": False} | options
        return subprocess.run([CTL, "--socket", self.ctl_socket, *arguments], env=self.environment(), **options)

    def ctl_start(self, *arguments, **options):
        """The same, still running; ends with the lab. `env` has variables that are added."""
        popen = subprocess.Popen([CTL, "--socket", self.ctl_socket, *arguments], env=self.environment(**options.pop("env", {})),
                                 preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)
        self.lab.helpers.append(popen)
        return popen


# ---- the laboratory ----

LABS = []


class Lab:
    """Nodes, and the DHT's first node. Ends all of them when it is left, whatever happened."""

    def __init__(self, mode=None, dht=True):
        sweep()
        self.mode = mode or default_mode()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.namespaces = []
        self.nodes = []
        self.interrupted = False  # one of them was away: what was on its way to or from it came in part, then or later
        self.helpers = []
        self.dht = None
        LABS.append(self)
        atexit.register(self.close)
        try:
            self.hub = self._add_hub() if self.mode == "netns" else None
            self.recorder = self._record()
            self.dht_port = DHT_PORT if self.hub else free_udp_port()
            if dht:
                self._start_dht()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check()
        finally:
            self.close()

    # -- network --

    def _name(self, name):
        return f"{self.directory.name}-{name}"

    def _add(self, name):
        full = self._name(name)
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        for which in ("all", "default"):
            path = pathlib.Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6")
            inside(full, lambda path=path: path.write_text("1", encoding="ascii"))
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def _add_hub(self):
        hub = self._add("hub")
        run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        # One of its own: else it takes a port's, another with each node that is added, and who knew the old one is mute.
        run("ip", "-n", hub, "link", "set", "br0", "address", "02:00:00:00:00:01")
        # Peer discovery is multicast; without a querier a snooping bridge may forget who listens.
        run("ip", "-n", hub, "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", hub, "addr", "add", f"{NET}1/24", "dev", "br0")
        run("ip", "-n", hub, "link", "set", "br0", "up")
        return hub

    def add_namespace(self, name, number):
        full = self._add(name)
        run("ip", "link", "add", f"v{number}", "netns", self.hub, "type", "veth", "peer", "name", "eth0", "netns", full)
        run("ip", "-n", self.hub, "link", "set", f"v{number}", "master", "br0", "up")
        run("ip", "-n", full, "addr", "add", f"{NET}{number + 10}/24", "dev", "eth0")
        run("ip", "-n", full, "link", "set", "eth0", "up")
        run("ip", "-n", full, "route", "add", "default", "via", f"{NET}1")
        # libnice skips interfaces that are not running yet.
        until(lambda: "LOWER_UP" in run("ip", "-n", full, "link", "show", "eth0"), 5, "link of the namespace")
        return full

    def loopback_address(self):
        return "127.0.0.1"

    def dht_address(self):
        return f"{NET}1:{self.dht_port}" if self.hub else f"127.0.0.1:{self.dht_port}"

    def _record(self):
        """Keeps what nodes say, for the corpus (dht_record.py), if that is wanted."""
        directory = os.environ.get("CONND_E2E_RECORD")
        if not directory or not self.hub:
            return None
        from dht_record import Recorder

        return Recorder(self.hub, "br0", directory).__enter__()

    def _start_dht(self):
        self.dht = Process(["dhtnode", "-s", "-n", "0", "-p", str(self.dht_port)], self.directory / "dhtnode.log", self.hub)
        port = f":{self.dht_port:04X} "

        def bound():
            assert self.dht.running(), self.dht.log()
            return port in pathlib.Path(f"/proc/{self.dht.pid}/net/udp").read_text(encoding="ascii")

        until(bound, 20, "dhtnode's port")

    def stop_dht(self):
        self.dht.kill()

    def start_dht(self):
        self._start_dht()

    # -- nodes --

    def node(self, name, *options, identity_number=None, **more):
        """A node that has an identity and is not started yet."""
        number = len(self.nodes)
        node = Node(self, name, number, options, **more)
        self.nodes.append(node)
        if identity_number != "none":
            identity(number if identity_number is None else identity_number, node.state)
        return node

    def pair(self, *options, trust=True):
        """Two running nodes that trust each other and have never met."""
        nodes = [self.node("alice", *options), self.node("bob", *options)]
        for node in nodes:
            node.start(ready=False)
        for node in nodes:
            node.wait_ready()
        if trust:
            nodes[0].allow(nodes[1])
            nodes[1].allow(nodes[0])
        return nodes

    def strangers(self, *nodes, count=4):
        return Strangers(self, nodes, count)

    # -- the end --

    def check(self):
        """Ends the daemons that still run as they should end."""
        for popen in self.helpers:
            if popen.poll() is None:
                popen.kill()
        for node in self.nodes:
            if node.process and node.process.running():
                node.thaw()
                node.stop()

    def report(self, lines=60):
        """The ends of all logs."""
        out = []
        for node in self.nodes:
            for log in sorted(node.directory.glob("log.*"))[-2:]:
                out.append(f"---- {node.name} {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(out)

    def close(self):
        if self not in LABS:
            return
        LABS.remove(self)
        atexit.unregister(self.close)
        if getattr(self, "recorder", None):
            self.recorder.__exit__()
        for popen in self.helpers:
            if popen.poll() is None:
                popen.kill()
            popen.wait()
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass
        for node in self.nodes:
            node.close_clients()
            if node.process and node.process.running():
                node.process.kill()
        if self.dht:
            self.dht.kill()
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        if not os.environ.get("CONND_E2E_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)


class Strangers:
    """Runs strangers.py against nodes while the block lasts, from a place of their own on the network."""

    def __init__(self, lab, nodes, count):
        self.lab, self.nodes, self.count = lab, nodes, count
        self.made = self.written = 0
        self.popen = None
        self.output = b""

    def __enter__(self):
        pids = ",".join(str(node.process.pid) for node in self.nodes)
        addresses = ",".join(node.address for node in self.nodes)
        command = ["/usr/bin/python3", str(pathlib.Path(__file__).with_name("strangers.py")), pids, addresses, str(self.count)]
        hub = self.lab.hub

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if hub:
                enter(hub)

        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=prepare, bufsize=0)
        self.lab.helpers.append(self.popen)
        assert self.popen.stdout.readline() == b"ready\n"
        return self

    def met(self, wait):
        """The ports that they have found since the last call; waits so many seconds for one."""
        if not select.select([self.popen.stdout], [], [], wait)[0]:
            return set()
        found = os.read(self.popen.stdout.fileno(), 65536)
        assert found, "the strangers have ended"
        *lines, self.output = (self.output + found).split(b"\n")
        return {int(line.split()[1]) for line in lines if line.startswith(b"met ")}

    def open_beside(self, client, callee, uri, **options):
        """Sends an open while the callee is frozen, so that the caller's ports are open until strangers have come."""
        own = {node.status().get("port") for node in self.nodes}  # the daemons' own, which are there all the time
        while self.met(0):
            pass
        deadline = Deadline(60 * SCALE)
        callee.freeze()
        try:
            request = client.send("channel.open", peer=callee.device, uri=uri, strict_end=True, **options)
            while not self.met(deadline.left()) - own:
                assert deadline.left() > 0, "the strangers found no port"
        finally:
            callee.thaw()
        return client.opened(request, 40 * SCALE)

    def __exit__(self, *_):
        out, _ = self.popen.communicate(timeout=60 * SCALE)
        if out:
            self.made, self.written = map(int, out.splitlines()[-1].split())


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


__all__ = ["ApiError", "Client", "Deadline", "Lab", "Node", "CTL", "DAEMON", "SANITIZER", "SCALE", "as_many_channels", "inside", "run",
           "sha256", "sized", "until"]
