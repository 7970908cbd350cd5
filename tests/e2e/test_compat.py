# SPDX-License-Identifier: GPL-3.0-or-later
"""Yesterday's daemon, command line and state directory with today's. Those that need yesterday's programs are skipped
without CONND_OLD: CONND_OLD=$(tests/compat/build_old.sh)."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from api_schema import SCHEMA
from harness import CTL, SCALE, until
from old import client_of, older
from traffic import Echo, round_trip

COMPAT = pathlib.Path(os.environ.get("CONND_COMPAT") or pathlib.Path(__file__).resolve().parents[1] / "compat")
VERSIONS = sorted(path.name for path in COMPAT.iterdir() if (path / "state").is_dir())
OLD = os.environ.get("CONND_OLD")
needs_old = pytest.mark.skipif(not OLD, reason="needs CONND_OLD, an earlier daemon: tests/compat/build_old.sh")


def said_by(node):
    """What must not be lost by an upgrade, as the API tells it."""
    identity = node.api.call("identity.show")
    identity.pop("chain", None)
    trust = [{key: entry[key] for key in ("id", "kind", "trust")} for entry in node.api.call("trust.list")["entries"]]
    aliases = {entry["name"]: entry["device"] for entry in node.api.call("alias.list")["aliases"]}
    crls = [(entry["crl"], entry["revoked"]) for entry in node.api.call("crl.list")["crls"]]
    return {"identity": identity, "trust": sorted(trust, key=str), "aliases": aliases, "crls": sorted(crls)}


def told_then(said):
    """The same, as the earlier daemon told it."""
    return {"identity": said["identity"],
            "trust": sorted(({key: entry[key] for key in ("id", "kind", "trust")} for entry in said["trust"]["entries"]), key=str),
            "aliases": {entry["name"]: entry["device"] for entry in said["aliases"]["aliases"]},
            "crls": sorted((entry["crl"], entry["revoked"]) for entry in said["crls"]["crls"])}


@pytest.mark.parametrize("version", VERSIONS)
def test_compat_yesterdays_state_directory(lab, version):
    node = lab.node("alice", identity_number="none")
    shutil.copytree(COMPAT / version / "state", node.state)
    for path in [node.state, *node.state.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    node.start(ready=False)
    until(lambda: node.status().get("device"), 10 * SCALE, "its identity")
    assert said_by(node) == told_then(json.loads((COMPAT / version / "said.json").read_text(encoding="utf-8")))
    assert not [text for text in node.status()["problems"] if "DHT" not in text]


def members(schema, path=""):
    """{path of an object: (names of its members, those that must be there)} in a schema, its items and members included."""
    out = {}
    if "properties" in schema:
        out[path] = (set(schema["properties"]), set(schema.get("required", ())))
        for name, inner in schema["properties"].items():
            out |= members(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        out |= members(schema["items"], f"{path}[]")
    return out


def said_in(document):
    """What the daemon says, by method or notification: `members` of its schema."""
    out = {method["name"]: members(method["result"]["schema"]) for method in document["methods"]}
    for message in document["x-notifications"]:
        for event, schema in message.get("x-types", {}).items():
            out[f"event {event}"] = members(schema)
        out[message["name"]] = members({"type": "object", "properties": {p["name"]: p["schema"] for p in message["params"]},
                                        "required": [p["name"] for p in message["params"] if p.get("required")]})
    return out


def asked_in(document):
    """(params of each method, those that must be there)."""
    return {method["name"]: ({p["name"] for p in method["params"]}, {p["name"] for p in method["params"] if p.get("required")})
            for method in document["methods"]}


def api_problems(then, now):
    """Why a client of `then` is not understood by a daemon of `now`, or misses something; and the other way round."""
    for method, (params, needed) in asked_in(then).items():
        if method not in asked_in(now):
            yield f"{method} has gone"
            continue
        params_now, needed_now = asked_in(now)[method]
        yield from (f"{method} takes no {name} any more" for name in sorted(params - params_now))
        yield from (f"{method} wants {name}" for name in sorted(needed_now - needed))
    said_now = said_in(now)
    for what, objects in said_in(then).items():
        for path, (names, always) in objects.items():
            names_now, always_now = said_now.get(what, {}).get(path, (set(), set()))
            yield from (f"{what}{path} has no {name} any more" for name in sorted(names - names_now))
            yield from (f"{what}{path} may lack {name}" for name in sorted((always & names_now) - always_now))
            yield from (f"today's clients want {name} of {what}{path}, which was not there" for name in sorted(always_now - names))


@pytest.mark.parametrize("version", VERSIONS)
def test_compat_api_of_yesterday(version):
    """Nothing that a client or a daemon of then says or expects has gone, or is wanted newly."""
    then = json.loads((COMPAT / version / "schema.json").read_text(encoding="utf-8"))
    assert sorted(api_problems(then, json.loads(SCHEMA.read_text(encoding="utf-8")))) == []
    # It sees what it should.
    changed = json.loads(json.dumps(then))
    hello = next(method for method in changed["methods"] if method["name"] == "hello")
    hello["result"]["schema"]["required"].append("new")
    hello["result"]["schema"]["properties"]["new"] = {"type": "string"}
    hello["result"]["schema"]["properties"].pop("api")
    hello["params"].append({"name": "also", "required": True, "schema": {}})
    assert sorted(api_problems(then, changed)) == ["hello has no api any more", "hello wants also",
                                                   "today's clients want new of hello, which was not there"]


def talk(caller, callee):
    """A channel, and bytes to and fro; over a connection of its own."""
    with Echo(callee):
        channel = caller.api.open(callee.device, "echo")
        assert round_trip(channel, b"over the versions") == b"over the versions"
        channel.finish()
    caller.api.call("connection.close", peer=callee.device)
    until(lambda: not caller.connections() and not callee.connections(), 10 * SCALE, "no connection")


def cli(client, node, *words, **options):
    done = subprocess.run([client, "--socket", node.socket_path, *words], capture_output=True, text=True, timeout=60 * SCALE, check=False,
                          env=node.environment(), **options)
    assert done.returncode == 0, (client, words, done.stderr)
    return done.stdout


def drive(client, caller, callee):
    """What people do, by that command line at both daemons."""
    assert cli(client, caller, "id").split()[0] == caller.device
    for words in (["status"], ["connections"], ["channels"], ["trust", "list"], ["alias", "list"], ["crl", "list"], ["identity", "request"]):
        cli(client, caller, *words)
    cli(client, caller, "alias", "set", "friend", callee.device)
    cli(client, callee, "trust", "allow", caller.device)
    listener = subprocess.Popen([client, "--socket", callee.socket_path, "listen", "compat", "--once", "--exec", "cat"], env=callee.environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: callee.status()["counts"]["listeners"] == 1, 10 * SCALE, "the listener")
    assert cli(client, caller, "open", "friend", "compat", input="to and fro") == "to and fro"
    _, said = listener.communicate(timeout=30 * SCALE)
    assert listener.returncode == 0, said


@needs_old
def test_compat_old_and_new_daemons_and_clients(lab):
    """Both directions over the wire, both command lines at both daemons."""
    new, old = lab.node("new").start(), older(lab.node("old"), OLD).start()
    new.allow(old)
    old.allow(new)
    talk(new, old)
    talk(old, new)
    for client in (CTL, client_of(OLD)):
        drive(client, new, old)
        drive(client, old, new)


@needs_old
def test_compat_an_upgrade(lab):
    """Today's daemon on a directory that yesterday's has used. The way back is not promised: yesterday's daemon does not
    know all that today's writes, and refuses to start on a trust list that it cannot read whole, which is as well."""
    peer, node = lab.node("peer").start(), older(lab.node("alice"), OLD).start()
    today = lab.node("today", identity_number="none")
    node.allow(peer)
    peer.allow(node)
    node.api.call("alias.set", name="peer", device=peer.device)
    talk(peer, node)
    before = said_by(node)
    node.stop()
    shutil.copytree(node.state, today.state)
    today.start()
    assert said_by(today) == before
    talk(peer, today)
    talk(today, peer)
