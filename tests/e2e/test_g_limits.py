# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G4, G7: what one client, and all together, may have of the daemon; each limit with its error."""
import json
import pathlib
import select
import socket
import time

import pytest
from api_client import reason_of
from harness import FILES, SANITIZER, SCALE, ApiError, until
from traffic import Echo, round_trip

RESOURCE_LIMIT = -32017
# ipc/limits.h, kMaxQueuedBytes; and what lines cost beyond their bytes, each in a string that has grown by doubling.
MAX_QUEUED = 8 << 20
SLACK = 6 << 20
# The longest that others may wait while a client does not read: a turn's share of its requests lies between.
LONGEST_ROUND_TRIP = 5 * SCALE
MAX_CLIENTS, CHANNELS_PER_CLIENT, UNCOLLECTED = 4, 50, 4


@pytest.fixture(scope="module")
def limited(shared_lab):
    """Alice sends few fds at once; Bob has few clients, and gives each few channels."""
    alice = shared_lab.node("alice", "--max-uncollected-fds", str(UNCOLLECTED))
    bob = shared_lab.node("bob", "--max-clients", str(MAX_CLIENTS), "--max-channels-per-client", str(CHANNELS_PER_CLIENT))
    for node in (alice, bob):
        node.start(ready=False)
    for node in (alice, bob):
        node.wait_ready()
    alice.allow(bob)
    bob.allow(alice)
    return alice, bob


@pytest.fixture
def pair(limited):
    for node in limited:
        node.close_all()
        until(lambda node=node: alone(node), 10 * SCALE, "former clients are gone")
    until(lambda: not any(node.status()["counts"]["channels"] for node in limited), 10 * SCALE, "former channels have ended")
    return limited


def alone(node):
    try:
        return node.status()["counts"]["clients"] == 1
    except ConnectionError:  # the former ones still have all the places
        return False


def refused(call, *arguments, **options):
    with pytest.raises(ApiError) as caught:
        call(*arguments, **options)
    return caught.value.reason, caught.value.detail


def raw_client(node):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(20 * SCALE)
    sock.connect(node.socket_path)
    return sock


def line(method, number=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def read_to_the_end(sock):
    """All until EOF or a reset; a timeout is an error."""
    out = bytearray()
    try:
        while part := sock.recv(1 << 20):
            out += part
    except ConnectionResetError:
        pass
    return bytes(out)


class PeakMemory:
    """The most that a process had resident since this was made."""

    def __init__(self, node):
        self.directory = pathlib.Path(f"/proc/{node.process.pid}")
        (self.directory / "clear_refs").write_text("5", encoding="ascii")  # proc(5): VmHWM is what there is now
        self.before = self.value()

    def value(self):
        lines = (self.directory / "status").read_text(encoding="ascii").splitlines()
        return next(int(text.split()[1]) for text in lines if text.startswith("VmHWM:")) * 1024

    def growth(self):
        return self.value() - self.before


def test_g4_long_names_drop_no_listener(pair):
    """A listener that is slow to read is told of no more requests than it is given room for, however long their names."""
    alice, bob = pair
    name, count = "\0" * 65_000, 2 * MAX_QUEUED // (6 * 65_000)
    before = bob.status()["metrics"]["clients_dropped"]
    with raw_client(bob) as slow:
        slow.sendall(line("listen.add", uri="\0", prefix=True, mode="ask"))
        until(lambda: bob.status()["counts"]["listeners"] == 1, 10 * SCALE, "it listens")
        opens = [alice.api.send("channel.open", peer=bob.device, uri=name[:-1] + chr(65 + n % 26)) for n in range(count)]
        assert reason_of(alice.api.reply, opens[-1]) == "busy"
        assert bob.status()["metrics"]["clients_dropped"] == before
    for opening in opens[:-1]:
        assert reason_of(alice.api.reply, opening) in ("busy", "declined")


def test_g4_client_that_does_not_read(pair):
    """Its unread answers are bounded, then it is dropped; another's channel goes on meanwhile."""
    alice, bob = pair
    clients = alice.status()["counts"]["clients"]
    answer = len(json.dumps(alice.api.call("rpc.discover")))
    with Echo(bob), raw_client(alice) as deaf:
        channel = alice.api.open(bob.device, "echo")
        assert alice.status()["counts"]["clients"] == clients + 1
        before = alice.status()["metrics"]["clients_dropped"]
        memory = PeakMemory(alice)
        deaf.sendall(line("rpc.discover") * (2 * MAX_QUEUED // answer))
        longest = 0

        def dropped():
            nonlocal longest
            began = time.monotonic()
            assert round_trip(channel, b"x") == b"x"
            longest = max(longest, time.monotonic() - began)
            return alice.status()["counts"]["clients"] == clients

        until(dropped, 30 * SCALE, "the daemon drops the client that does not read")
        print(f"peak {memory.growth() >> 10} KiB, longest round trip {longest * 1000:.0f} ms")
        assert longest < LONGEST_ROUND_TRIP
        assert SANITIZER or memory.growth() < MAX_QUEUED + SLACK
        assert len(read_to_the_end(deaf)) < MAX_QUEUED
        assert alice.status()["metrics"]["clients_dropped"] == before + 1
        channel.close()


def test_g7_clients(pair):
    """One too many gets one line and the end, and its place when another has left."""
    _, bob = pair
    before = bob.status()["metrics"]["limits_hit"]
    others = [bob.client() for _ in range(MAX_CLIENTS - 1)]
    with raw_client(bob) as late:
        said = read_to_the_end(late)
    assert said.count(b"\n") == 1 and said.endswith(b"\n")
    message = json.loads(said)
    assert message["id"] is None and message["error"]["code"] == RESOURCE_LIMIT
    assert message["error"]["data"]["reason"] == "resource-limit"
    status = bob.status()
    assert status["counts"]["clients"] == MAX_CLIENTS and status["metrics"]["limits_hit"] == before + 1
    others[0].close()
    bob.apis.remove(others[0])
    until(lambda: bob.status()["counts"]["clients"] == MAX_CLIENTS - 1, 10 * SCALE, "a place")
    assert bob.client().hello["server"] == "jami-connd"


def test_g7_a_clients_own_channels(pair):
    alice, bob = pair
    with Echo(alice, "own"):
        client = bob.client()
        channels = [client.open(alice.device, f"own {n}") for n in range(CHANNELS_PER_CLIENT)]
        assert refused(client.open, alice.device, "own, one more")[0] == "resource-limit"
        with bob.client() as other:  # the limit is each one's own
            other.open(alice.device, "own, another's").close()
        channels[0].finish().close()
        channels[0].end()
        channels[0] = client.open(alice.device, "own again")
        assert round_trip(channels[0], b"room") == b"room"
        for channel in channels:
            channel.close()


@pytest.mark.parametrize("mode", ["auto", "ask"])
def test_g7_channels_that_peers_open(pair, mode):
    """A listener whose client has as many channels as it may is busy, and says so to the peer."""
    alice, bob = pair
    listener = bob.client("listener")
    listener.call("listen.add", uri="in", prefix=True, mode=mode)
    requests = [alice.api.send("channel.open", peer=bob.device, uri=f"in {n}") for n in range(CHANNELS_PER_CLIENT)]
    busy = ("busy", "the peer's application has as many channels as it may")
    if mode == "ask":
        asked = [listener.wait("channel.request")[0]["request"] for _ in requests]
        assert refused(alice.api.open, bob.device, "in, one more") == busy  # also while they have no answer
        taken = [listener.opened(listener.send("channel.accept", request=request)) for request in asked]
    else:
        taken = [listener.incoming() for _ in requests]
    channels = [alice.api.opened(request) for request in requests]
    assert refused(alice.api.open, bob.device, "in, one more") == busy
    for channel in channels + taken:
        channel.close()
    for channel in channels:
        channel.end()
    # There is room again.
    request = alice.api.send("channel.open", peer=bob.device, uri="in again")
    if mode == "ask":
        listener.send("channel.accept", request=listener.wait("channel.request")[0]["request"])
    assert alice.api.opened(request).device == bob.device


def test_g7_fds_that_a_client_does_not_collect(pair):
    """Few are sent at once; the others wait, and each comes with its own line when the client reads."""
    alice, bob = pair
    count = CHANNELS_PER_CLIENT
    with Echo(bob, "fds"):
        client = alice.client("slow")
        requests = {client.send("channel.open", peer=bob.device, uri=f"fds {n}"): n for n in range(count)}
        until(lambda: all(node.status()["counts"]["channels"] == count for node in pair), 20 * SCALE, "all are open")
        alice.freeze()  # what lies in the socket was sent without waiting for this client to read
        while select.select([client.sock], [], [], 0)[0]:
            client.pump(0)
        alice.thaw()
        assert sum(map(len, client.replies.values())) == UNCOLLECTED
        channels = {number: client.opened(request) for request, number in requests.items()}
        for number, channel in channels.items():
            channel.send(b"%d" % number).shut()
        for number, channel in channels.items():
            assert channel.receive_all() == b"%d" % number
            channel.close()
        for channel in channels.values():
            channel.end()


# ---- requests that wait for an answer ----

# ipc/limits.h, kMaxRequestsInFlight; and IpcSettings::max_asked_per_client, which status tells.
IN_FLIGHT = 4096


@pytest.fixture
def plain_pair(shared_lab):
    """With the limits that there are when nobody sets any."""
    carol, dora = (shared_lab.node(name).start(ready=False) for name in ("carol", "dora"))
    for node in (carol, dora):
        node.wait_ready()
    carol.allow(dora)
    dora.allow(carol)
    return carol, dora


@pytest.mark.skipif(FILES < IN_FLIGHT + 1_000, reason=f"needs {IN_FLIGHT + 1_000} files")
def test_g7_requests_in_flight_and_asked(plain_pair):
    """One client's opens without an answer are bounded, and so are the peers' requests that one client has to answer."""
    carol, dora = plain_pair
    assert dora.status()["limits"]["max_asked_per_client"] == IN_FLIGHT
    listener = dora.client("listener")
    listener.call("listen.add", uri="ask", prefix=True, mode="ask")
    with raw_client(carol) as many:
        many.sendall(b"".join(line("channel.open", n, peer=dora.device, uri=f"ask {n}") for n in range(IN_FLIGHT)))
        until(lambda: carol.status()["counts"]["pending_opens"] == IN_FLIGHT, 30 * SCALE, "all are pending")
        many.sendall(line("channel.open", "one more", peer=dora.device, uri="ask"))
        message = json.loads(many.recv(1 << 16))
        assert (message["id"], message["error"]["data"]["reason"]) == ("one more", "resource-limit")
        for _ in range(IN_FLIGHT):
            request = listener.wait("channel.request", 30 * SCALE)[0]["request"]
        assert refused(carol.api.open, dora.device, "ask") == ("busy", "the peer's application has too many requests to answer")
        listener.call("channel.decline", request=request)
        answered = carol.api.send("channel.open", peer=dora.device, uri="ask again")
        request = listener.wait("channel.request")[0]["request"]
        listener.opened(listener.send("channel.accept", request=request))
        assert carol.api.opened(answered).device == dora.device
    until(lambda: carol.status()["counts"]["pending_opens"] == 0, 20 * SCALE, "a client's opens end with it")
