#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a state directory with an earlier daemon, for tests of today's that have to read it. By hand, as root, once for
each version that has landed:

    CONND_OLD=$(tests/compat/build_old.sh COMMIT) tests/compat/make_state.py DIRECTORY

and its ipc/schema.json beside it. The directory has been used: two peers were met, one is trusted, others by account and CA, one is banned; an alias, a revocation list,
requests that were treated. Keys of 2,048 bits, of nobody.
"""
import json
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLD = os.environ["CONND_OLD"]
os.environ |= {"CONND_DAEMON": OLD, "CONND_CTL": str(pathlib.Path(OLD).with_name("jami-connctl"))}
os.environ.setdefault("CONND_BUILD", str(ROOT / "build" / "release"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

from certificates import make_crl, split  # pylint: disable=wrong-import-position
from harness import Lab  # pylint: disable=wrong-import-position
from old import older  # pylint: disable=wrong-import-position
from traffic import Echo, round_trip  # pylint: disable=wrong-import-position

BANNED = "ba" * 32
ACCOUNT = "ac" * 20
CA = "ca" * 20
# What is about one run, or a machine.
LEFT_OUT = ("lock", "run", "dht-nodes*")


def used(lab):
    alice, bob, carol = (older(lab.node(name), OLD).start() for name in ("alice", "bob", "carol"))
    alice.allow(bob)
    bob.allow(alice)
    carol.allow(alice)
    for entry in ({"id": ACCOUNT}, {"id": CA, "kind": "ca"}):
        alice.api.call("trust.allow", **entry)
    alice.api.call("trust.ban", id=BANNED)
    alice.api.call("alias.set", name="bob", device=bob.device)
    device, account = split(alice.api.call("identity.show")["chain"])[:2]
    alice.api.call("crl.add", pem=make_crl(lab.directory / "crl", account, alice.state / "identity" / "account.key", [device]))
    with Echo(alice), Echo(bob), Echo(carol):
        for caller, callee in ((alice, bob), (alice, carol)):
            channel = caller.api.open(callee.device, "echo")
            assert round_trip(channel, b"met") == b"met"
            channel.finish()
        alice.api.call("connection.close", peer=bob.device)
        channel = bob.api.open(alice.device, "echo")  # a request of an allowed peer
        assert round_trip(channel, b"called") == b"called"
        channel.finish()
    identity = alice.api.call("identity.show")
    del identity["chain"]  # it is in the state
    said = {"identity": identity, "trust": alice.api.call("trust.list"), "aliases": alice.api.call("alias.list"),
            "crls": alice.api.call("crl.list"), "met": [bob.device, carol.device]}
    for node in (alice, bob, carol):
        node.stop()
    return alice.state, said


def main():
    directory = pathlib.Path(sys.argv[1])
    with Lab() as lab:
        state, said = used(lab)
        shutil.copytree(state, directory / "state", ignore=shutil.ignore_patterns(*LEFT_OUT))
    (directory / "said.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
