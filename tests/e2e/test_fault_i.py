# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon has in its memory, and who may look at it."""
import os
import pathlib
import re
import signal
import subprocess

import pytest
from harness import SANITIZER, START_SECONDS, Lab, until

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user, and another process's memory")
CHUNK = 1 << 20


@pytest.fixture
def local_lab():
    """For daemons of another user, who may not enter a network namespace."""
    with Lab(mode="loopback") as made:
        made.directory.chmod(0o755)
        yield made


def of_nobody(lab, name, *options):
    """A daemon of that user, who listens."""
    node = lab.node(name, *options, user=NOBODY)
    for path in [node.directory, *node.directory.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    node.launch()
    until(lambda: os.path.exists(node.socket_path), START_SECONDS, f"{name} listens")
    return node


def core_limit(node):
    text = pathlib.Path(f"/proc/{node.process.pid}/limits").read_text(encoding="ascii")
    return re.search(r"^Max core file size +(\S+) +(\S+)", text, re.MULTILINE).groups()


def read_by(user, path):
    """Whether a process of that user, and of the daemon's group, can read the file."""
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={os.getegid()}", "--clear-groups", "head", "-c", "1", path],
                          check=False, capture_output=True).returncode == 0


@ROOT_ONLY
def test_fault_i_its_own_user_cannot_look_into_it(local_lab):
    guarded = of_nobody(local_lab, "guarded")
    open_to_all = of_nobody(local_lab, "debuggable", "--debuggable")
    for node, may in ((guarded, False), (open_to_all, True)):
        for name in ("environ", "maps"):
            assert read_by(NOBODY, f"/proc/{node.process.pid}/{name}") == may, (node.name, name)
    assert core_limit(guarded) == ("0", "0")
    assert core_limit(open_to_all) != ("0", "0")


@ROOT_ONLY
def test_fault_i_a_crash_leaves_no_core(lab):
    node = lab.node("alice")
    arguments = node.arguments()
    # A core file would be in its directory, or a program's; that there was one is in what its parent is told.
    node.arguments = lambda: ["sh", "-c", f"ulimit -c unlimited; cd {node.directory}; exec \"$@\"", "sh", *arguments]
    node.start(ready=False)
    os.kill(node.process.pid, signal.SIGABRT)
    _, status = os.waitpid(node.process.pid, 0)
    node.process.popen.returncode = -signal.SIGABRT
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert not list(node.directory.glob("core*"))


def numbers_of(key_file):
    """What must be secret of an RSA key, as OpenSSL and GnuTLS have it in memory: its numbers, from either end, and the text."""
    shown = subprocess.run(["openssl", "rsa", "-in", key_file, "-noout", "-text"], check=True, capture_output=True, text=True).stdout
    out = {}
    for name in ("privateExponent", "prime1", "prime2"):
        digits = re.search(rf"^{name}:\n((?:    [0-9a-f:]+\n)+)", shown, re.MULTILINE).group(1)
        number = bytes.fromhex(re.sub(r"[\s:]", "", digits)).lstrip(b"\0")
        out[name] = number[-64:]
        out[f"{name}, backwards"] = number[-64:][::-1]
    lines = pathlib.Path(key_file).read_bytes().splitlines()
    out["PEM"] = lines[len(lines) // 2]
    return out


def found_in(pid, secrets):
    """Which of these are in the memory that a process can write to."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if not rights.startswith("rw") or "[vvar" in line:
                continue
            first, last = (int(text, 16) for text in where.split("-"))
            tail = b""
            for at in range(first, last, CHUNK):
                memory.seek(at)
                try:
                    chunk = tail + memory.read(min(CHUNK, last - at))
                except OSError:
                    break  # a page that is not there
                found |= {name for name, secret in secrets.items() if secret in chunk}
                tail = chunk[-128:]
    return found


@ROOT_ONLY
@pytest.mark.skipif(bool(SANITIZER), reason="what is freed is kept by a sanitizer")
def test_fault_i_the_accounts_key_is_not_in_memory(lab):
    """Not after the start, for which it signs the device's announcement, nor after it has certified another device."""
    alice, bob = lab.node("alice").start(), lab.node("bob").start()
    keys = {name: numbers_of(alice.state / "identity" / f"{name}.key") for name in ("device", "account", "ca")}
    assert found_in(alice.process.pid, keys["device"]), "this test sees nothing"
    assert found_in(alice.process.pid, keys["account"]) == set()
    assert found_in(alice.process.pid, keys["ca"]) == set()
    assert alice.api.call("identity.show")["account_key"]
    request = bob.api.call("identity.request")["request"]
    chain = alice.api.call("identity.sign", request=request)["chain"]
    assert "BEGIN CERTIFICATE" in chain
    exported = alice.api.call("identity.export_account", passphrase="a long passphrase")["account"]
    assert "ENCRYPTED" in exported
    for name in ("account", "ca"):
        assert found_in(alice.process.pid, keys[name]) == set(), name
    alice.api.call("identity.forget_account_key")
    alice.api.call("identity.import", pem=exported, passphrase="a long passphrase")
    for name in ("account", "ca"):
        assert found_in(alice.process.pid, keys[name]) == set(), name
    assert alice.api.call("identity.show")["account_key"]
