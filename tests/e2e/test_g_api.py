# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS G: the local API against the real daemon."""
import json
import os
import resource
import socket
import stat
import subprocess

import pytest
from api_client import reason_of
from api_schema import SCHEMA
from harness import SCALE, ApiError, as_many_channels, sized, until
from traffic import Echo, round_trip

MAX_LINE = 1 << 20
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, PROTOCOL_ERROR = -32700, -32600, -32601, -32602, -32015
NOT_FOUND = -32002


LINES = [
    (b"garbage", PARSE_ERROR, None, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":{"client":"a\0b"}}', PARSE_ERROR, None, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":{"client":"\xff\xfe"}}', PARSE_ERROR, None, False),
    (b"[" * 40 + b"]" * 40, PARSE_ERROR, None, False),
    (b"x" * (2 << 20), INVALID_REQUEST, None, True),
    (b"[]", INVALID_REQUEST, None, False),
    (b'[{"jsonrpc":"2.0","id":5,"method":"hello"}]', INVALID_REQUEST, None, False),
    (b'"text"', INVALID_REQUEST, None, False),
    (b'{"jsonrpc":"1.0","id":5,"method":"hello"}', INVALID_REQUEST, 5, False),
    (b'{"jsonrpc":"2.0","id":5}', INVALID_REQUEST, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","more":1}', INVALID_REQUEST, 5, False),
    (b'{"jsonrpc":"2.0","method":"hello"}', INVALID_REQUEST, None, False),
    (b'{"jsonrpc":"2.0","id":null,"method":"hello"}', INVALID_REQUEST, None, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"no.such"}', NO_METHOD, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":[1]}', INVALID_PARAMS, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":{"client":7}}', INVALID_PARAMS, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":{"client":"x","unknown":7}}', INVALID_PARAMS, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"channel.open","params":{"peer":"zz","uri":"x"}}', NOT_FOUND, 5, False),
    (b'{"jsonrpc":"2.0","id":5,"method":"hello","params":{"client":"x","fds":1}}', PROTOCOL_ERROR, None, True),
]


@pytest.mark.parametrize("number", range(len(LINES)))
def test_g2_every_malformed_line_is_answered(pair, number):
    alice, _ = pair
    line, code, request, closes = LINES[number]
    client = alice.client()
    client.send_line(line)
    message, _ = client.message_for(request, 10)
    error = message["error"]
    assert error["code"] == code, message
    assert error["data"]["reason"] and error["message"] and "\n" not in error["message"]
    if closes:
        client.wait_gone()
    else:
        assert client.call("hello", client="still here")["server"] == "jami-connd"
    assert alice.api.call("hello", client="others")["api"] == 1


def test_g2_an_fd_nobody_asked_for(pair):
    alice, _ = pair
    client = alice.client()
    client.sock.setblocking(True)
    line = b'{"jsonrpc":"2.0","id":9,"method":"hello","params":{"client":"x"}}\n'
    try:
        socket.send_fds(client.sock, [line], [0])
    except PermissionError:  # the kernel (6.16) refuses it for the daemon, at once
        client.sock.setblocking(False)
        assert client.call("hello", client="x")["server"] == "jami-connd"
        return
    client.checked.sent(json.loads(line))
    client.sock.setblocking(False)
    message, _ = client.message_for(None, 10)
    assert message["error"]["code"] == PROTOCOL_ERROR
    client.wait_gone()


def test_g2_last_line_without_an_end(pair):
    alice, _ = pair
    client = alice.client()
    client.sock.send(b'{"jsonrpc":"2.0","id":9')
    client.sock.shutdown(socket.SHUT_WR)
    assert client.message_for(None, 10)[0]["error"]["code"] == PARSE_ERROR
    client.wait_gone()


def test_g1_every_method_answers_wrong_params(pair):
    alice, _ = pair
    schema = alice.api.call("rpc.discover")
    assert schema == json.loads(SCHEMA.read_text(encoding="utf-8"))
    names = [method["name"] for method in schema["methods"]]
    assert {"hello", "channel.open", "listen.add", "trust.allow", "events.subscribe"} <= set(names)
    for method in schema["methods"]:
        name = method["name"]
        needed = {param["name"]: example(param["schema"]) for param in method["params"] if param["required"]}
        assert reason_of(alice.api.call, name, **needed, no_such_member=1) == "invalid-argument", name
        if any(param["required"] for param in method["params"]):
            assert reason_of(alice.api.call, name) == "invalid-argument", name
        for param in method["params"]:
            for wrong in wrong_values(param["schema"]):
                assert reason_of(alice.api.call, name, **needed | {param["name"]: wrong}) == "invalid-argument", (name, param, wrong)


def example(schema):
    """A value that the schema allows."""
    schema = schema.get("anyOf", [schema])[0]
    return schema["enum"][0] if "enum" in schema else {"string": "x", "integer": 1, "number": 1, "boolean": True}[schema["type"]]


def wrong_values(schema):
    """Of other types, and on the other side of each bound."""
    if "anyOf" in schema:
        arrays = [part for part in schema["anyOf"] if part.get("type") == "array"]
        return [None, {"of": "no use"}, True] + [wrong for part in arrays for wrong in ([], [7], ["x"] * (part["maxItems"] + 1))]
    wrong = [None, [], {"of": "no use"}, 7 if schema["type"] == "string" else "7"]
    if "enum" in schema:
        wrong.append("none of these")
    if schema["type"] == "boolean":
        wrong += [0, 1]
    if schema["type"] == "integer":
        wrong += [1.5, True]
    for bound, beyond in (("minimum", -1), ("maximum", +1)):
        if bound in schema:
            wrong.append(schema[bound] + beyond)
    if "maxLength" in schema:
        wrong.append("x" * (schema["maxLength"] + 1))
    if schema.get("minLength"):
        wrong.append("")
    return wrong


def test_g1_status_says_what_matters(pair):
    alice, _ = pair
    status = alice.status()
    assert status["state"] == "ready" and status["pid"] == alice.process.pid and status["device"] == alice.device
    assert status["dht"]["state"] == "connected" and status["dht"]["bootstrap"] == alice.bootstrap
    assert status["dht"]["lan_discovery"] is False and status["dht"]["port"] > 0
    assert {"connections", "channels", "clients", "listeners", "pending_opens"} <= set(status["counts"])
    assert status["limits"]["max_channels"] > 100 and status["problems"] == []


def test_g3_a_thousand_opens_in_flight_on_one_socket(pair):
    alice, bob = pair
    count = as_many_channels(sized(300, 1000, 4000))
    with Echo(bob, "g3"):
        requests = {alice.api.send("channel.open", peer=bob.device, uri=f"g3 {n}"): n for n in range(count)}
        channels = {n: alice.api.opened(request, 60 * SCALE) for request, n in requests.items()}
        assert len({channel.handle for channel in channels.values()}) == count
        for n, channel in channels.items():  # the right fd with each line
            channel.send(b"%d" % n).shut()
        for n, channel in channels.items():
            assert channel.receive_all() == b"%d" % n
            channel.close()
        for channel in channels.values():
            channel.end()


# While app ends wait for a client that collects 64 at a time, a channel costs the daemon two descriptors, so all 1,000 need
# a daemon with more than 2,000 files. With 1,024 what does not fit is refused, and nothing is lost.
FITS_1024_FILES = 300


@pytest.mark.parametrize("opens", [FITS_1024_FILES, 1000])
def test_g3_as_a_plain_user_with_1024_files(lab, opens):
    """The kernel counts fds in flight per user: this process, with as few files as its daemons."""
    script = os.path.join(os.path.dirname(__file__), "many_opens.py")
    files = min(4096, hard_limit())
    alice = lab.node("alice", nofile=files).start()
    bob = lab.node("bob", nofile=files).start()
    bob.allow(alice)
    with Echo(bob, "many"):
        done = subprocess.run(["/usr/bin/python3", script, alice.socket_path, bob.device, str(opens)], capture_output=True,
                              text=True, timeout=120 * SCALE, check=False, preexec_fn=few_files)
        assert done.returncode == 0, done.stderr + done.stdout
        right, refused = map(int, done.stdout.split())
        assert right + refused == opens, "an open got a channel whose bytes are not its own"
        assert right >= FITS_1024_FILES
        assert refused == 0 or opens > FITS_1024_FILES and files < 2 * opens
        assert round_trip(alice.api.open(bob.device, "many, and one more"), b"still") == b"still"


def hard_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, min(1024, hard_limit())))


def test_g5_listeners(pair):
    alice, bob = pair
    owner, other = bob.client("owner"), bob.client("other")
    owner.call("listen.add", uri="g5", prefix=True)
    with pytest.raises(ApiError) as busy:
        other.call("listen.add", uri="g5", prefix=True)
    assert (busy.value.reason, busy.value.detail) == ("busy", f"uid {os.getuid()}")
    exact = other.call("listen.add", uri="g5 deep", prefix=False)["listener"]
    longer = other.call("listen.add", uri="g5 long", prefix=True)["listener"]
    for uri, client in (("g5 deep", other), ("g5 deeper", owner), ("g5 longest", other), ("g5", owner)):
        alice.api.open(bob.device, uri)
        assert client.incoming(uri=uri)
    other.call("listen.remove", listener=exact)
    other.call("listen.remove", listener=longer)
    alice.api.open(bob.device, "g5 deep")
    assert owner.incoming(uri="g5 deep")
    owner.close()  # its listener ends with it
    bob.apis.remove(owner)

    def gone():
        try:
            alice.api.open(bob.device, "g5 deep").close()
        except ApiError as error:
            return error.reason == "no-listener"
        return False

    until(gone, 10, "the listener's end")
    assert other.call("listen.add", uri="g5", prefix=True)["listener"]


def test_g6_socket_mode_and_owner(pair):
    alice, _ = pair
    mode = os.stat(alice.socket_path)
    assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == os.getuid()
    assert stat.S_IMODE(os.stat(alice.state).st_mode) == 0o700
    for key in (alice.state / "identity").glob("*.key"):
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o600


def test_a_stranger_can_type_it_with_socat(pair):
    alice, _ = pair
    line = b'{"jsonrpc":"2.0","id":1,"method":"daemon.status"}\n'
    done = subprocess.run(["socat", "-t", "5", "-", f"UNIX-CONNECT:{alice.socket_path}"], input=line, capture_output=True,
                          timeout=20, check=True)
    assert b'"state":"ready"' in done.stdout
