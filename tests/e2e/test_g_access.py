# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G6: who may do what at a system service's socket. Needs root: the daemon has groups of its own, in a mount
namespace, and clients of several users come to it."""
import json
import os
import shlex
import stat
import subprocess

import pytest
from harness import CTL, namespaces_allowed

# As the package makes them; any numbers that are free will do here.
USERS, ADMINS, STRANGER = 64_001, 64_002, 64_003
MEMBER, ADMIN, OTHER = 64_011, 64_012, 64_013


@pytest.fixture
def service(lab):
    """A system service: its socket belongs to the group jami-connd."""
    if not namespaces_allowed():
        pytest.skip("needs root")
    groups = lab.directory / "group"
    groups.write_text(f"root:x:0:\njami-connd:x:{USERS}:\njami-connd-admin:x:{ADMINS}:\n")
    os.chmod(lab.directory, 0o755)
    node = lab.node("service", "--reserve", f"user:{MEMBER} mine:", "--reserve", f"group:{STRANGER} theirs:")
    os.chmod(node.directory, 0o755)
    node.preload = {"RUNTIME_DIRECTORY": str(node.directory)}
    plain = node.arguments
    inner = f"mount --bind {shlex.quote(str(groups))} /etc/group && exec " + " ".join(map(shlex.quote, plain()))
    node.arguments = lambda: ["unshare", "--mount", "sh", "-c", inner]
    node.start()
    return node


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
