# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G6: who may do what at a system service's socket. Needs root: the daemon has groups of its own, in a mount
namespace, and clients of several users come to it."""
import contextlib
import json
import os
import shlex
import socket
import stat
import subprocess

import pytest
from api_client import Client
from harness import CTL, SCALE, ApiError, namespaces_allowed
from traffic import Echo, round_trip

# As the package makes them; any numbers that are free will do here.
USERS, ADMINS, STRANGER = 64_001, 64_002, 64_003
MEMBER, ADMIN, OTHER = 64_011, 64_012, 64_013


def as_service(lab, *options):
    """A system service that is not started yet: its socket belongs to the group jami-connd."""
    groups = lab.directory / "group"
    groups.write_text(f"root:x:0:\njami-connd:x:{USERS}:\njami-connd-admin:x:{ADMINS}:\n")
    os.chmod(lab.directory, 0o755)
    node = lab.node("service", *options)
    os.chmod(node.directory, 0o755)
    node.preload = {"RUNTIME_DIRECTORY": str(node.directory)}
    plain = node.arguments
    inner = f"mount --bind {shlex.quote(str(groups))} /etc/group && exec " + " ".join(map(shlex.quote, plain()))
    node.arguments = lambda: ["unshare", "--mount", "sh", "-c", inner]
    return node


@pytest.fixture
def service(lab):
    if not namespaces_allowed():
        pytest.skip("needs root")
    return as_service(lab, "--reserve", f"user:{MEMBER} mine:", "--reserve", f"group:{STRANGER} theirs:", "--ice-request",
                      "ask").start()


def as_user(node, uid, gids, *arguments):
    """The command line, as another user; a copy of it, for that user may not see this directory."""
    ctl = node.directory / "jami-connctl"
    if not ctl.exists():
        ctl.write_bytes(open(CTL, "rb").read())
        ctl.chmod(0o755)
    groups = ["--groups", ",".join(map(str, gids))] if gids else ["--clear-groups"]
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", *groups, str(ctl), "--socket", node.socket_path,
                           *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_g6_groups_of_the_system_service(service):
    info = os.stat(service.socket_path)
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o660, 0, USERS)
    # Strangers do not get in: the file's mode sees to that.
    assert as_user(service, OTHER, [STRANGER], "status").returncode != 0
    # Members open, listen and look, but do not administer.
    assert as_user(service, MEMBER, [USERS], "status").returncode == 0
    assert as_user(service, MEMBER, [USERS], "id").stdout.strip() == service.device
    for verbs in (["trust", "list"], ["trust", "allow", "ab" * 32], ["alias", "set", "x", "ab" * 32], ["crl", "list"],
                  ["identity", "request"], ["identity", "forget-account-key"], ["close", "ab" * 32]):
        done = as_user(service, MEMBER, [USERS], *verbs)
        assert done.returncode == 6, (verbs, done)
    # Administrators do, whether or not they are members.
    assert as_user(service, ADMIN, [USERS, ADMINS], "trust", "allow", "ab" * 32).returncode == 0
    assert "ab" * 32 in as_user(service, ADMIN, [USERS, ADMINS], "trust", "list").stdout
    # Root does everything.
    assert service.ctl("trust", "list").returncode == 0


def test_g6_a_channel_is_its_owners_alone(service, lab):
    """Another member's channel and listener are unknown to a member, and shown to an administrator with their owner."""
    bob = lab.node("bob").start()
    service.allow(bob)
    bob.allow(service)
    bob.api.call("listen.add", uri="x")
    with service.client("root's") as owner:
        channel = owner.open(bob.device, "x")
        handle = channel.handle
        assert as_user(service, MEMBER, [USERS], "--json", "channels").stdout == ""
        refused = as_user(service, MEMBER, [USERS], "call", "channel.close", f'{{"channel": {handle}}}')
        assert refused.returncode == 4, refused
        shown = as_user(service, ADMIN, [USERS, ADMINS], "--json", "channels").stdout
        assert '"uid":0' in shown.replace(" ", "")
        assert as_user(service, ADMIN, [USERS, ADMINS], "call", "channel.close", f'{{"channel": {handle}}}').returncode == 0
        assert channel.end()["reason"] == "cancelled"


def listens(node, uid, gids, uri, prefix=False):
    """What `listen.add` says to that user: its exit code."""
    params = json.dumps({"uri": uri, "prefix": prefix})
    return as_user(node, uid, gids, "call", "listen.add", params).returncode


def test_g6_reserved_prefixes(service):
    assert listens(service, MEMBER, [USERS], "mine:x") == 0
    assert listens(service, OTHER, [USERS], "mine:x") == 6
    assert listens(service, OTHER, [USERS, STRANGER], "theirs:x") == 0
    assert listens(service, MEMBER, [USERS], "theirs:x") == 6
    assert listens(service, MEMBER, [USERS], "anybody's") == 0
    # A shorter prefix is allowed, and does not take what is below it.
    assert listens(service, OTHER, [USERS], "m", prefix=True) == 0
    assert listens(service, OTHER, [USERS], "mine:", prefix=True) == 6


def test_fault_c6_unique_opens_of_reserved_names(service):
    """A peer's unique open that crosses one becomes the opener's channel: it would get what others are to have."""
    def opens(uid, timeout, **params):
        params |= {"peer": "5a" * 32, "uri": "mine:x", "timeout": timeout}
        return as_user(service, uid, [USERS], "call", "channel.open", json.dumps(params)).returncode

    assert opens(OTHER, 20, unique=True) == 6
    assert opens(MEMBER, 0.2, unique=True) == 4  # nobody is there
    assert opens(OTHER, 0.2) == 4  # who only calls gets nothing of others


# ---- by the API itself ----

# ipc/PROTOCOL.md, section 2, in other words: whoever may connect may call these; all others are for administrators.
FOR_ALL = {
    "hello", "rpc.discover", "daemon.status", "connection.list", "alias.list", "identity.show", "channel.open",
    "channel.attach", "channel.cancel", "channel.accept", "channel.decline", "channel.finish", "channel.close", "channel.list",
    "listen.add", "listen.remove", "connection.accept", "connection.decline", "events.subscribe", "events.unsubscribe",
}
FOR_ADMINS = {
    "connection.close", "connection.requests", "policy.register", "trust.allow", "trust.ban", "trust.unset", "trust.list", "alias.set",
    "alias.remove", "crl.add", "crl.remove", "crl.list", "identity.request", "identity.sign", "identity.revoke", "identity.import",
    "identity.export_account", "identity.forget_account_key",
}
# That the schema allows, and that each method would take.
PARAMS = {
    "hello": {"client": "x"}, "channel.cancel": {"id": 12345}, "listen.add": {"uri": "free"},
    "channel.open": {"peer": "5a" * 32, "uri": "x", "timeout": 0.01}, "connection.close": {"peer": "5a" * 32},
    "trust.allow": {"id": "5a" * 32}, "trust.ban": {"id": "5a" * 32}, "trust.unset": {"id": "5a" * 32},
    "alias.set": {"name": "bob", "device": "5a" * 32}, "alias.remove": {"name": "carol"}, "crl.add": {"pem": "x"},
    "crl.remove": {"crl": "5a" * 32}, "identity.sign": {"request": "x"}, "identity.revoke": {"device": "5a" * 32}, "identity.import": {"pem": "x"},
    "identity.export_account": {"passphrase": "long enough"}, "channel.attach": {"token": "5a" * 16},
} | {name: {"channel": 12345} for name in ("channel.finish", "channel.close")} | {
    name: {"request": 12345} for name in ("channel.accept", "channel.decline", "connection.accept", "connection.decline")
} | {"listen.remove": {"listener": 12345}}


@contextlib.contextmanager
def being(uid, *gids):
    """This process is somebody else meanwhile: the daemon asks the kernel who connects."""
    groups = os.getgroups()
    os.setgroups(gids)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def client_of(node, uid, *gids):
    with being(uid, *gids):
        client = Client(node.socket_path, f"uid {uid}")
    node.apis.append(client)
    return client


def member_of(node):
    return client_of(node, MEMBER, USERS)


def reason_of(client, method, /, **params):
    """Why a call fails; None if it does not."""
    try:
        client.call(method, **params)
    except ApiError as error:
        return error.reason
    return None


def test_g6_every_method_for_members_and_administrators(service):
    assert FOR_ALL | FOR_ADMINS == {method["name"] for method in service.api.call("rpc.discover")["methods"]}
    member, admin = member_of(service), client_of(service, ADMIN, USERS, ADMINS)
    service.api.call("alias.set", name="carol", device="5b" * 32)
    lists = ("trust.list", "alias.list", "crl.list", "identity.show")
    before = [service.api.call(name) for name in lists]
    for method in sorted(FOR_ADMINS):
        assert reason_of(member, method, **PARAMS.get(method, {})) == "not-permitted", method
        # Who may call it hears what is wrong with the params instead.
        assert reason_of(admin, method, no_such_member=1) == "invalid-argument", method
    for method in sorted(FOR_ALL):
        assert reason_of(member, method, **PARAMS.get(method, {})) in (None, "not-found"), method
    assert [service.api.call(name) for name in lists] == before


def test_g6_who_may_not_connect_hears_it(service):
    """The daemon itself looks who comes: the file's mode is not all that keeps strangers out."""
    os.chmod(service.socket_path, 0o666)
    done = as_user(service, OTHER, [STRANGER], "status")
    assert done.returncode == 6 and "not-permitted" in done.stderr, done
    with being(OTHER, STRANGER), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(service.socket_path)
        sock.settimeout(20)
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    message = json.loads(said)
    assert said.count(b"\n") == 1 and (message["id"], message["error"]["code"]) == (None, -32009)


@pytest.fixture
def peers(service, lab):
    """The service, and Bob: they trust each other."""
    bob = lab.node("bob").start()
    service.allow(bob)
    bob.allow(service)
    return service, bob


def test_g6_members_rights(peers):
    """A member opens, finishes, closes and lists its own channels; what was asked of others it cannot answer."""
    service, bob = peers
    member, other = member_of(service), member_of(service)
    with Echo(bob, "echo"), service.client("root's") as root:
        roots = root.open(bob.device, "echo roots")
        kept, dropped = member.open(bob.device, "echo kept"), member.open(bob.device, "echo dropped")
        listed = {item["channel"]: item for item in member.call("channel.list")["channels"]}
        assert set(listed) == {kept.handle, dropped.handle}
        assert not any(name in item for item in listed.values() for name in ("uid", "pid"))
        shown = {item["channel"]: item for item in root.call("channel.list")["channels"]}
        assert set(shown) == {roots.handle, *listed} and shown[kept.handle]["uid"] == MEMBER
        assert round_trip(kept, b"mine") == b"mine"
        for method in ("channel.finish", "channel.close"):
            assert reason_of(other, method, channel=kept.handle) == "not-found"
            assert reason_of(member, method, channel=roots.handle) == "not-found"
        kept.finish()
        assert kept.receive_all() == b"" and kept.end()["reason"] == "closed"
        member.call("channel.close", channel=dropped.handle)
        assert dropped.end()["reason"] == "cancelled"
        assert round_trip(roots, b"still") == b"still"


def test_g6_a_request_is_for_those_who_were_asked(peers, lab):
    service, bob = peers
    member, admin, root = member_of(service), client_of(service, ADMIN, USERS, ADMINS), service.client("root's")
    listener = root.call("listen.add", uri="ask", mode="ask")["listener"]
    opening = bob.api.send("channel.open", peer=service.device, uri="ask")
    request = root.wait("channel.request")[0]["request"]
    for client in (member, admin):
        for method in ("channel.accept", "channel.decline"):
            assert reason_of(client, method, request=request) == "not-found"
    assert reason_of(member, "listen.remove", listener=listener) == "not-found"
    taken = root.opened(root.send("channel.accept", request=request))
    assert round_trip(bob.api.opened(opening).send(b"x") and taken, b"") == b"" and taken.receive(1) == b"x"

    carol = lab.node("carol").start()
    root.call("policy.register")
    opening = carol.api.send("channel.open", peer=service.device, uri="ask", timeout=20 * SCALE)
    request = root.wait("connection.request")[0]["request"]
    for method in ("connection.accept", "connection.decline"):
        assert reason_of(member, method, request=request) == "not-found"
    # Whoever may be the one that is asked may answer in its place.
    admin.call("connection.decline", request=request)
    assert root.wait("connection.request_cancelled")[0] == {"request": request, "reason": "cancelled"}
    assert reason_of(root, "connection.decline", request=request) == "not-found"
    carol.api.call("channel.cancel", id=opening)


def test_g6_members_hear_of_their_own_channels_alone(peers, lab):
    service, bob = peers
    carol = lab.node("carol").start()
    member, root = member_of(service), service.client("root's")
    with Echo(bob, "echo"):
        early = member.open(bob.device, "echo early")
        others = root.open(bob.device, "echo others")
        snapshot = member.call("events.subscribe")
        assert [item["channel"] for item in snapshot["channels"]] == [early.handle]
        root.call("events.subscribe")
        own = member.open(bob.device, "echo own")
        roots = root.open(bob.device, "echo roots")
        for channel in (others, roots, early, own):
            channel.finish().close()
            channel.end()
        service.allow(carol)
        service.api.call("trust.unset", id=carol.device)
        # Nobody has registered to be asked: she is refused.
        opening = carol.api.send("channel.open", peer=service.device, uri="x", timeout=40 * SCALE)
        root.event("request.refused", peer=carol.device)
        carol.api.call("channel.cancel", id=opening)
        root.sync()
        member.sync()
    seen = {client: [params for _, params, _ in client.notes] for client in (member, root)}
    kinds = [(event["type"], event["channel"]) for event in seen[member] if event["type"].startswith("channel.")]
    assert kinds == [("channel.opened", own.handle), ("channel.closed", early.handle), ("channel.closed", own.handle)]
    # Whether this device can be reached may become known at any time, and is no secret.
    others = {event["type"] for event in seen[member]} - {"network.reachable"}
    assert others == {"channel.opened", "channel.closed"}
    assert [event["seq"] for event in seen[member]] == [snapshot["seq"] + 1 + i for i in range(len(seen[member]))]
    assert not any("uid" in event or "pid" in event for event in seen[member])
    assert {"channel.opened", "channel.closed", "trust.changed"} <= {event["type"] for event in seen[root]}
    assert {roots.handle, own.handle} <= {event.get("channel") for event in seen[root]}
