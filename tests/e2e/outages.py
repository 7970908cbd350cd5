# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory for outages: two daemons whose DHT nodes cannot speak to each other, as most of the world's cannot, and the
nodes between them. What goes down comes back, and how long the devices cannot reach each other is measured."""
import concurrent.futures
import os
import time

from api_client import ApiError
from harness import Lab, Late, inside, run, until
from processes import NET, Process
from traffic import Echo, round_trip

# A device that is not reachable by then is taken to be lost: 2.5 to over 8 minutes were seen.
LOST_SECONDS = 60


class World:
    """Alice calls, Bob is called; `nodes` nodes of the DHT beside theirs. `number` chooses their identities, and with them
    which nodes keep what."""

    def __init__(self, number, nodes=1, started=True, peers=0, apart=False):
        """Not `started`: there is no node of the DHT yet, and Bob does not listen. Bob has met as many `peers` before.
        `apart`: the two nodes have never heard each other."""
        self.lab = Lab("netns", dht=started)
        self.echo = None
        try:
            self.more = [self._dhtnode(k) for k in range(1, nodes)]
            self.alice = self.lab.node("alice", identity_number=100 + 2 * number)
            self.bob = self.lab.node("bob", identity_number=101 + 2 * number)
            if apart:
                self.part()
            if peers:
                (self.bob.state / "pairs").write_bytes(pairs_file(peers))
            for node in (self.alice, self.bob):
                node.start(ready=False)
            for node in (self.alice, self.bob):
                node.hello = until(lambda node=node: self._identity(node), 20, "its identity")
            self.alice.allow(self.bob)
            self.bob.allow(self.alice)
            if started:
                for node in (self.alice, self.bob):
                    node.wait_ready()
                self.listen()
        except BaseException:
            self.lab.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.echo:
                self.echo.__exit__(kind)
            if kind is None:
                self.lab.check()
        finally:
            for process in self.more:
                process.kill()
            self.lab.close()

    @staticmethod
    def _identity(node):
        hello = node.api.call("hello", client="outages")
        return hello if hello.get("device") else None

    def listen(self):
        self.echo = Echo(self.bob)
        self.echo.__enter__()

    def _dhtnode(self, number):
        port = str(self.lab.dht_port + number)
        command = ["dhtnode", "-s", "-n", "0", "-p", port, "-b", self.lab.dht_address()]
        return Process(command, self.lab.directory / f"dhtnode.{number}.log", self.lab.hub)

    def open(self, timeout=LOST_SECONDS):
        """A first open of Alice's, its connection closed afterwards; the seconds it took, without what the machine was late.
        None: not in time."""
        self.forget()
        with Late() as late:
            began = time.monotonic()
            try:
                channel = self.alice.api.open(self.bob.device, "echo", timeout=timeout)
            except ApiError:
                return None
            took = time.monotonic() - began - late.seconds
        assert round_trip(channel, b"there") == b"there"
        channel.close()
        return took

    def forget(self):
        """No connection is left, on either side: a connection needs no DHT."""
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            one.api.call("connection.close", peer=other.device)
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            until(lambda one=one, other=other: not one.connections(other), 20, "no connection is left")

    def part(self):
        """From now on the two nodes' datagrams do not get through to each other."""
        self.lab.interrupted = True
        for node, other in ((self.alice, self.bob), (self.bob, self.alice)):
            self._filter(node.namespace, "ip apart", "input", f"ip saddr {other.address} meta l4proto udp drop")

    @staticmethod
    def _filter(namespace, table, hook, verdict):
        rules = f"table {table} {{\nchain c {{\ntype filter hook {hook} priority 0;\n{verdict}\n}}\n}}\n"
        inside(namespace, lambda: run("nft", "-f", "-", input=rules))

    # -- outages --

    def link_down(self, node):
        """The cable is out: the machine sees it."""
        self.lab.interrupted = True
        run("ip", "-n", node.namespace, "link", "set", "eth0", "down")

    def link_up(self, node):
        run("ip", "-n", node.namespace, "link", "set", "eth0", "up")
        run("ip", "-n", node.namespace, "route", "replace", "default", "via", f"{NET}1")

    def drop(self, node):
        """The router has lost its way to the world: nothing comes in, what goes out vanishes, and the machine sees nothing."""
        self.lab.interrupted = True
        self._filter(self.lab.hub, "netdev gone", f"ingress device v{node.number}", "drop")
        self._filter(node.namespace, "ip gone", "input", "iifname eth0 drop")

    def mend(self, node):
        inside(self.lab.hub, lambda: run("nft", "delete", "table", "netdev", "gone"))
        inside(node.namespace, lambda: run("nft", "delete", "table", "ip", "gone"))

    def outage(self, node, how, seconds):
        """One of them is away for a while; then, how long it takes until Alice reaches Bob. None: longer than LOST_SECONDS."""
        begin, end = {"link": (self.link_down, self.link_up), "drop": (self.drop, self.mend)}[how]
        self.forget()
        begin(node)
        time.sleep(seconds)
        end(node)
        return self.open()


class SideBySide:
    """The tests of a file that wait most of the time, each with a laboratory of its own: the first that is run begins all
    that are selected, by their bodies; each waits for its own."""

    def __init__(self, request, bodies):
        selected = {item.originalname for item in request.session.items}
        bodies = {name: body for name, body in bodies.items() if name in selected}
        self.pool = concurrent.futures.ThreadPoolExecutor(max(1, len(bodies)))
        self.results = {name: self.pool.submit(body) for name, body in bodies.items()}

    def wait(self, request):
        return self.results[request.node.originalname].result()

    def end(self):
        self.pool.shutdown()


def pairs_file(peers):
    """As daemon/trust/pair_store.cpp writes it: of so many devices that nobody trusts, two secrets each."""
    return b"jami-connd pairs 1\n" + b"".join(os.urandom(32) + bytes([0, 2]) + os.urandom(64) for _ in range(peers))


def rounds(worlds, one):
    """`one(world number)` for each, side by side: they wait most of the time. What they return, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(worlds)) as pool:
        return list(pool.map(one, worlds))


def shown(times):
    return " ".join("lost" if t is None else f"{t:.2f}" for t in times)
