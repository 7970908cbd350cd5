# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS D: nothing that may wait for a disk, a nameserver or a private key is done by the loop's thread."""
import os
import shutil
import signal
import socket
import time

import pytest
from api_client import ApiError, reason_of
from certificates import make_crl, split
from harness import BUILD, SANITIZER, inside, sized, until
from traffic import Echo, round_trip, subscribed

pytestmark = pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer wants to be loaded first, and has times of its own")
LOOP_GUARD = os.environ.get("CONND_LOOP_GUARD") or str(BUILD / "tests/peer/libloop_guard.so")


END_SECONDS = 5


def guarded(node):
    """The node's loop is watched: what it does that it must not is in a file. Its disk is as another one says: "hang", "fail"."""
    log, disk = node.directory / "loop", node.directory / "disk"
    node.preload = {"LD_PRELOAD": LOOP_GUARD, "LOOP_GUARD": str(log), "LOOP_GUARD_DIR": str(node.state),
                    "LOOP_GUARD_DISK": str(disk)}
    return log, disk


def end(node, expect=0):
    """SIGTERM: how long it takes."""
    node.close_clients()
    began = time.monotonic()
    node.process.popen.terminate()
    code = node.process.wait(2 * END_SECONDS)
    took = time.monotonic() - began
    assert code == expect, f"{code}:\n{node.process.log()[-4000:]}"
    assert took < END_SECONDS
    return took


def opens(alice, bob):
    with Echo(alice), Echo(bob):
        for one, other in ((alice, bob), (bob, alice), (alice, bob)):
            channel = one.api.open(other.device, "echo")
            assert round_trip(channel, b"to and fro") == b"to and fro"
            channel.finish()


def changes(alice, bob):
    """All that alice can do which changes what she keeps."""
    api = alice.api
    api.call("alias.set", name="bob", device=bob.device)
    api.call("trust.allow", id=bob.account)  # from here on what a chain says counts
    api.call("trust.allow", id="bob", scope=[{"uri": "echo", "prefix": False}])
    bob.api.call("trust.allow", id=alice.device)
    opens(alice, bob)
    api.call("connection.close", peer="bob")
    keys = bob.state / "identity"
    device, account = split(bob.api.call("identity.show")["chain"])[:2]
    added = api.call("crl.add", pem=make_crl(alice.directory / "crl", account, keys / "account.key", [device]))
    with pytest.raises(ApiError):
        api.open(bob.device, "echo", timeout=2)
    api.call("crl.remove", crl=added["crl"])
    api.call("trust.ban", id=bob.account)
    api.call("trust.unset", id=bob.account)
    api.call("trust.unset", id="bob")
    assert api.call("trust.list")["entries"] == []
    # Alice takes bob's device into her account, and out again, and gives her account's key away.
    api.call("identity.sign", request=bob.api.call("identity.request")["request"])
    assert api.call("identity.revoke", device="bob")["crl"]["revoked"] == 1
    api.call("trust.allow", id="bob")
    api.call("alias.remove", name="bob")
    exported = api.call("identity.export_account", passphrase="a long word")["account"]
    api.call("identity.forget_account_key")
    api.call("identity.import", pem=exported, passphrase="a long word")
    # Another account's chain: all begins anew.
    chain = bob.api.call("identity.sign", request=api.call("identity.request")["request"])["chain"]
    api.call("identity.import", pem=chain)
    alice.wait_ready()
    assert alice.account == bob.account


def test_fault_d_the_loop_waits_for_no_disk_no_nameserver_and_no_private_key(shared_lab):
    bob = shared_lab.node("bob").start()
    alice = shared_lab.node("alice")
    alice.bootstrap = [*alice.bootstrap, "localhost"]  # a name
    done, _ = guarded(alice)
    alice.start()
    changes(alice, bob)
    alice.stop()
    alice.start()  # now there is something to read
    opens(alice, bob)
    os.kill(alice.process.pid, signal.SIGHUP)
    until(lambda: "reloaded changed=" in alice.process.log(), 10, "the reload")
    alice.stop()
    assert not done.exists() or not done.read_text(), "\n".join(sorted(set(done.read_text().splitlines())))


def entries(node):
    return {entry["id"]: entry["trust"] for entry in node.api.call("trust.list")["entries"]}


def test_fault_d3_changes_are_in_force_at_once_and_answered_when_the_disk_has_them(shared_lab):
    node = shared_lab.node("slow")
    _, disk = guarded(node)
    node.start()
    disk.write_text("hang")
    first, *more = [f"{number:064x}" for number in range(1, 4)]
    with node.client() as asks:
        requests = [asks.send("trust.ban", id=device) for device in (first, *more)]
        requests += [asks.send("alias.set", name="away", device=first)]
        asks.sync()
        assert entries(node) == {device: "banned" for device in (first, *more)}
        assert reason_of(node.api.call, "channel.open", peer="away", uri="x") == "banned"
        assert all(asks.unanswered(request, 0.1) for request in requests)
        disk.unlink()
        for request in requests:
            asks.reply(request)
    node.kill()
    node.start()
    assert entries(node) == {device: "banned" for device in (first, *more)}
    assert node.api.call("alias.list")["aliases"] == [{"name": "away", "device": first}]
    node.stop()


def test_fault_d3_what_the_disk_does_not_take_is_told_and_taken_back(shared_lab):
    node = shared_lab.node("failing")
    _, disk = guarded(node)
    node.start()
    kept, lost = "a" * 64, "b" * 64
    node.api.call("trust.allow", id=kept)
    node.api.call("alias.set", name="kept", device=kept)
    events = subscribed(node)
    disk.write_text("fail")
    for method, params in (("trust.allow", {"id": lost}), ("trust.ban", {"id": kept}), ("trust.unset", {"id": kept}),
                           ("alias.set", {"name": "lost", "device": lost}), ("alias.remove", {"name": "kept"})):
        assert reason_of(node.api.call, method, **params) == "internal", method
    told = [events.event("trust.changed")["trust"] for _ in range(6)]
    assert told == ["allowed", "unknown", "banned", "allowed", "unknown", "allowed"]
    for _ in range(2):  # so says memory, and the disk
        assert entries(node) == {kept: "allowed"}
        assert node.api.call("alias.list")["aliases"] == [{"name": "kept", "device": kept}]
        disk.unlink(missing_ok=True)
        node.stop()
        node.start()
    node.api.call("trust.allow", id=lost)
    assert entries(node) == {kept: "allowed", lost: "allowed"}


def test_fault_d2_sigterm_while_the_disk_hangs(shared_lab):
    node = shared_lab.node("hangs")
    _, disk = guarded(node)
    node.start()
    disk.write_text("hang")
    node.api.send("trust.ban", id="c" * 64)
    node.api.sync()
    end(node, expect=1)
    assert "something hangs" in node.process.log()


def test_fault_d3_sigterm_waits_for_what_the_disk_has_to_take(shared_lab):
    node = shared_lab.node("late")
    _, disk = guarded(node)
    node.start()
    disk.write_text("hang")
    with node.client() as asks:
        request = asks.send("trust.ban", id="d" * 64)
        asks.sync()
        os.kill(node.process.pid, signal.SIGTERM)
        assert asks.unanswered(request, 0.5)
        disk.unlink()
        assert asks.reply(request)[0]["trust"] == "banned"
    assert node.process.wait(END_SECONDS) == 0
    node.start()
    assert entries(node) == {"d" * 64: "banned"}


@pytest.mark.parametrize("names", [1, 20])
def test_fault_d2_sigterm_while_no_nameserver_answers(lab, names):
    if lab.mode != "netns" or not shutil.which("unshare"):
        pytest.skip("needs a network of its own, and to mount a file")
    node = lab.node("deaf")
    # A nameserver that is there, and never answers.
    server = inside(node.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("127.0.0.9", 53))
    server.settimeout(10)
    conf = node.directory / "resolv.conf"
    conf.write_text("nameserver 127.0.0.9\noptions timeout:30 attempts:5\n")
    switch = node.directory / "nsswitch.conf"
    switch.write_text("hosts: files dns\n")
    node.bootstrap = [*node.bootstrap, *(f"dead{number}.example.org" for number in range(names))]
    arguments = node.arguments
    node.arguments = lambda: [
        "unshare", "--mount", "sh", "-c",
        f"mount --bind {conf} /etc/resolv.conf && mount --bind {switch} /etc/nsswitch.conf && exec \"$@\"", "sh", *arguments()]
    took = []
    for turn in range(sized(1, 2, 10)):
        node.start(ready=turn % 2 == 0)
        assert server.recv(512)
        if turn == 0:  # another identity: all begins anew, and waits for no name either
            began = time.monotonic()
            node.api.call("identity.import", pem=node.api.call(
                "identity.sign", request=node.api.call("identity.request")["request"])["chain"])
            until(lambda: "the network starts anew" in node.process.log(), END_SECONDS, "the end of the former")
            node.wait_ready(END_SECONDS)
            anew = time.monotonic() - began
            assert anew < END_SECONDS
        took.append(end(node))
    server.close()
    print(f"with {names} names that nobody resolves: {len(took)} ends by SIGTERM, at most {max(took):.2f} s; another identity {anew:.2f} s")
