# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's own TCP port: what strangers get there, that it stays the same, and that it is enough to be reached."""
import socket
import struct

import pytest
from harness import SCALE, Notify, inside, run, until
from traffic import Echo, round_trip

COOKIE = 0x2112A442
BINDING_REQUEST = struct.pack("!HHI12s", 1, 0, COOKIE, b"transaction!")


def stun(address, port, message=BINDING_REQUEST):
    """What comes for a message over TCP; and the address and port that it was sent from."""
    with socket.create_connection((address, port), timeout=20) as connection:
        own = connection.getsockname()
        connection.sendall(message)
        try:
            return connection.recv(2048), own
        except ConnectionResetError:  # it was closed with our words unread
            return b"", own


def mapped(answer):
    kind, length, cookie, transaction, attribute, size, family, port, address = struct.unpack("!HHI12sHHHHI", answer[:32])
    assert (kind, cookie, transaction, attribute, size, family) == (0x101, COOKIE, b"transaction!", 0x20, 8, 1)
    assert length == len(answer) - 20
    return socket.inet_ntoa(struct.pack("!I", address ^ COOKIE)), port ^ (COOKIE >> 16)


def allow_only(node, port):
    """A firewall that lets nobody connect, but to that port."""
    rules = f"""table ip door {{
        chain input {{ type filter hook input priority 0; tcp flags & (syn | ack) == syn tcp dport != {port} drop; }}
    }}"""
    inside(node.namespace, lambda: run("nft", "-f", "-", input=rules + "\n"))


def test_strangers_get_their_address_and_nothing_else(lab):
    node = lab.node("node", bootstrap=[]).start(ready=False)
    until(lambda: node.status()["port"], 20 * SCALE, "it has its port")
    port = node.status()["port"]

    def check():
        answer, own = stun("127.0.0.1", port)
        assert mapped(answer) == own[:2]
        assert stun("127.0.0.1", port, b"GET / HTTP/1.1\r\n\r\n")[0] == b""
        # A check of an attempt that nobody knows.
        name = b"ours:theirs\0"
        attributes = struct.pack("!HH", 6, 11) + name
        check = struct.pack("!HHI12s", 1, len(attributes), COOKIE, b"transaction!") + attributes
        assert stun("127.0.0.1", port, struct.pack("!H", len(check)) + check)[0] == b""

    inside(node.namespace, check) if node.namespace else check()
    metrics = node.status()["metrics"]
    assert metrics["door_strangers"] == 3 and metrics["door_answered"] == 1 and metrics["door_guests"] == 0
    # The same port after a restart; another one if somebody has taken it meanwhile.
    node.stop()
    node.start(ready=False)
    until(lambda: node.status()["port"] == port, 20 * SCALE, "its former port")
    node.stop()

    def take():
        taken = socket.create_server(("0.0.0.0", port))
        return taken

    taken = inside(node.namespace, take) if node.namespace else take()
    node.start(ready=False)
    until(lambda: node.status()["port"] not in (0, port), 20 * SCALE, "another port")
    node.stop()
    # But one that was asked for is had, or is a reason to end.
    node.options += ["--port", str(port)]
    notify = Notify(str(node.directory / "n"))
    node.launch(NOTIFY_SOCKET=notify.path)
    assert node.process.wait(30 * SCALE) == 1
    assert f"TCP port {port} cannot be listened at" in node.process.log()
    notify.close()
    taken.close()
    node.start(ready=False)
    until(lambda: node.status()["port"] == port, 20 * SCALE, "the port that was asked for")


def test_one_open_port_is_enough(netns, lab):
    """Firewalls at both ends let nobody in but at that port: where ICE's ports are closed the door is open."""
    alice, bob = lab.pair()
    for node in (alice, bob):
        allow_only(node, node.status()["port"])
    for one, other in ((alice, bob), (bob, alice)):
        with Echo(other):
            channel = one.api.open(other.device, "echo", timeout=10)
            assert round_trip(channel, b"x" * 100_000) == b"x" * 100_000
            ends = [node.connections(peer)[0] for node, peer in ((one, other), (other, one))]
            ports = {int(ends[0]["local_address"].split(":")[1]), int(ends[0]["remote_address"].split(":")[1])}
            assert ports == {alice.status()["port"], bob.status()["port"]}
            assert [end["path"] for end in ends] == ["host", "host"]
            channel.close()
        one.api.call("connection.close", peer=other.device)
        until(lambda: not alice.connections() and not bob.connections(), 30 * SCALE, "the connection has ended")


def test_punched_when_neither_lets_anybody_in(netns, lab):
    """Each lets in only what answers it: both have to begin at once."""
    alice, bob = lab.pair()
    for node in (alice, bob):
        rules = """table ip door {
            chain input { type filter hook input priority 0; ct state new meta l4proto tcp drop; }
        }"""
        inside(node.namespace, lambda: run("nft", "-f", "-", input=rules + "\n"))
    with Echo(bob):
        assert round_trip(alice.api.open(bob.device, "echo", timeout=10), b"x") == b"x"
    assert alice.connections()[0]["path"] == "host"


@pytest.mark.parametrize("kind", ["dht", "none"])
def test_who_tells_the_public_address(lab, kind):
    """A jami-connd that is the bootstrap node tells it, with no option; and nobody is asked where that is not wanted."""
    first = lab.node("first", "--dht-port", "4333", bootstrap=[]).start(ready=False)
    until(lambda: first.status()["port"], 20 * SCALE, "its port")
    assert first.status()["port"] == 4333
    node = lab.node("node", *(["--stun", "none"] if kind == "none" else []), bootstrap=[f"{first.address}:4333"])
    node.start(ready=False)
    until(lambda: node.status()["port"], 20 * SCALE, "its port")
    if kind == "none":
        node.api.sync()
        assert node.status()["public_addresses"] == [] and first.status()["metrics"]["door_strangers"] == 0
        return
    seen = f"{node.address}:{node.status()['port']}"
    until(lambda: node.status()["public_addresses"] == [seen], 20 * SCALE, "it knows its address")
