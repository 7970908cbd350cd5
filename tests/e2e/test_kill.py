# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of either daemon, at any moment: of setting a connection up, of transfers, of changes of state, of its start."""
import hashlib
import os
import pathlib
import random
import threading

from api_client import ApiError, Client
from harness import SCALE, sized, until
from traffic import Echo, Sink, round_trip, subscribed

# The states that a connection comes by, as either side reports them. The certificates are known: "resolving" is short.
STATES = {"alice": ("resolving", "gathering", "offered", "checking", "handshaking", "ready"),
          "bob": ("gathering", "checking", "handshaking", "ready")}
LARGEST = 400_000
MANY_BYTES = 3 << 20
MOST_ENTRIES = 100
OPEN_SECONDS = 8 * SCALE
# An attempt that the dead left behind ends in this time: an open's, or ICE's and TLS's.
LEFT_SECONDS = 40 * SCALE


class Transfers(threading.Thread):
    """Opens, sends and ends, one channel after the other, until told to stop or its daemon is gone. `opened` has each
    channel's uri, `sums` what was sent whole, `ended` each channel's end."""

    def __init__(self, node, peer, run):
        super().__init__(daemon=True)
        self.client, self.peer, self.tag = Client(node.socket_path, f"transfers {run}"), peer, f"k {run}"
        self.opened, self.ended, self.sums = [], {}, {}
        self.stopped = threading.Event()
        self.random = random.Random(run)
        self.error = None

    def run(self):
        try:
            number = 0
            while not self.stopped.is_set():
                number += 1
                self.transfer(f"{self.tag} {number}")
        except ApiError:
            pass  # the other daemon was killed before there was a channel
        except ConnectionError:
            pass  # ours was
        except Exception as error:  # shown by the main thread
            self.error = error
        finally:
            self.client.close()

    def transfer(self, uri):
        data = self.random.randbytes(self.random.randrange(1, LARGEST))
        self.sums[uri] = hashlib.sha256(data).hexdigest()
        channel = self.client.open(self.peer, uri, timeout=OPEN_SECONDS)
        self.opened.append(uri)
        try:
            channel.send(data)
            channel.finish()
            channel.receive_all()
        except (ApiError, OSError):
            pass  # broken: its end says so
        self.ended[uri] = channel.end()["reason"]
        assert not self.client.find("channel.closed", channel=channel.handle), "reported twice"
        channel.close()


class Changes(threading.Thread):
    """Changes the trust list without pause until the daemon is gone. `known` is what was acknowledged; of the change
    `asked` last it is not known."""

    def __init__(self, node, known, seed):
        super().__init__(daemon=True)
        self.client, self.known, self.asked = Client(node.socket_path, "changes"), known, None
        self.random = random.Random(seed)
        self.error = None

    def run(self):
        try:
            while True:
                self.change()
        except ConnectionError:
            pass  # killed
        except Exception as error:  # shown by the main thread
            self.error = error
        finally:
            self.client.close()

    def change(self):
        allow = len(self.known) < MOST_ENTRIES and (not self.known or self.random.random() < 0.7)
        self.asked = f"{self.random.getrandbits(256):064x}" if allow else self.random.choice(sorted(self.known))
        self.client.call("trust.allow" if allow else "trust.unset", id=self.asked)
        (self.known.add if allow else self.known.remove)(self.asked)


def one_socket(node):
    """That one socket listens, and that there is one file of a socket. The kernel shows the name that it was bound by, before
    it was renamed."""
    rows = pathlib.Path(f"/proc/{node.process.pid}/net/unix").read_text(encoding="utf-8").splitlines()
    listening = [row for row in rows if row.split()[3] == "00010000" and f" {node.socket_path}" in row]
    files = [path.name for path in node.directory.iterdir() if path.is_socket()]
    return len(listening) == 1 and files == [pathlib.Path(node.socket_path).name]


class Side:
    """One of the two daemons over all rounds."""

    def __init__(self, node, other):
        self.node, self.other, self.device = node, other, node.device
        self.known = set()
        self.fds = node.fds()

    def killed(self, changes):
        """After its next start: the same device, the same trust, a live socket, no rest of the former run."""
        assert self.node.device == self.device
        listed = {entry["id"] for entry in self.node.api.call("trust.list")["entries"]} - {self.other.device}
        assert listed - {changes.asked} == self.known - {changes.asked}
        self.known.clear()
        self.known.update(listed)
        assert self.node.api.call("channel.list")["channels"] == []
        # One of this run, for the peer calls again already, is gone in a moment.
        until(lambda: not list(self.node.state.glob("**/*.tmp*")), 10 * SCALE, "nothing is left over")
        assert one_socket(self.node)

    def survived(self):
        """The dead daemon's channels and attempts are gone."""
        assert self.node.process.running()
        self.node.close_clients()
        until(lambda: not self.node.api.call("channel.list")["channels"], LEFT_SECONDS, "it has heard of the end")
        # With the other's next run there may be one already; the next round is to begin with none.
        self.node.api.call("connection.close", peer=self.other.device)
        until(lambda: self.node.fds() <= self.fds, LEFT_SECONDS, f"{self.node.name} has {self.node.fds()} fds, not {self.fds}")
        assert one_socket(self.node)


def wait_for_moment(chance, victim, events, sink, state):
    """A state of the victim's connection, or so many bytes later."""
    if state:
        events.event("connection.progress", state=state)
        return
    enough = chance.randrange(MANY_BYTES)
    until(lambda: sum(sink.counts.values()) >= enough, 40 * SCALE, "some more bytes")


def finished(thread):
    thread.join(LEFT_SECONDS)
    assert not thread.is_alive(), "it hangs"
    if thread.error:
        raise thread.error


def complete(transfers, sink):
    """How many transfers both ends call complete. Neither calls one so that is not."""
    count = 0
    for uri, digest in transfers.sums.items():
        whole = uri in sink.handles and sink.sums[uri].hexdigest() == digest
        said = uri in sink.handles and sink.ends.get(sink.handles[uri]) == "closed"
        assert whole or (not said and transfers.ended.get(uri) != "closed"), uri
        count += said and transfers.ended.get(uri) == "closed"
    return count


def one_round(chance, run, opener, victim, survivor, state):
    """The number of transfers that were completed."""
    events = subscribed(victim.node)
    with Sink(opener.other, "k") as sink:
        changes = Changes(victim.node, victim.known, chance.random())
        changes.start()
        transfers = Transfers(opener.node, opener.other.device, run)
        transfers.start()
        wait_for_moment(chance, victim, events, sink, state)
        victim.node.kill()
        transfers.stopped.set()
        finished(changes)
        if chance.random() < 0.5:  # it hardly lives, and is killed again
            victim.node.start(ready=False)
            victim.node.kill()
        victim.node.start()
        victim.killed(changes)
        finished(transfers)
        if survivor is opener:
            assert sorted(transfers.ended) == sorted(transfers.opened), "each end is reported"
        else:
            until(lambda: sorted(sink.ends) == sorted(sink.handles.values()), LEFT_SECONDS, "each end is reported")
    survivor.survived()
    return complete(transfers, sink)


def test_kill_9_at_any_moment(lab):
    """What was acknowledged is there after the next start, what is said to be complete is complete, and the other daemon
    hears of the rest and keeps nothing."""
    nodes = lab.pair()
    alice, bob = nodes
    for node in nodes:
        node.close_clients()
        node.status()
    sides = {"alice": Side(alice, bob), "bob": Side(bob, alice)}
    seed = int(os.environ.get("CONND_SEED") or random.randrange(1 << 32))
    print(f"CONND_SEED={seed}")
    chance = random.Random(seed)
    done = 0
    for run in range(sized(4, 4, 100)):
        name = ("alice", "bob")[run % 2]
        victim, survivor = sides[name], sides["bob" if name == "alice" else "alice"]
        state = chance.choice(STATES[name]) if run % 4 < 2 else None
        print(f"round {run}: {name}, {state or 'some bytes'}")
        done += one_round(chance, run, sides["alice"], victim, survivor, state)
    print(f"{done} transfers were completed")
    assert done
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo"), b"both live") == b"both live"
