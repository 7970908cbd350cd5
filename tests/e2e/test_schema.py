# SPDX-License-Identifier: GPL-3.0-or-later
"""That a message which is not as ipc/schema.json says is seen: all e2e tests lean on it."""
import signal
import subprocess

import pytest
from api_schema import SCHEMA_OF_ALL, Checked, SchemaError
from certificates import make_crl, split
from harness import SCALE

REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"client": "x"}}
ERROR = {"code": -32602, "message": "one line", "data": {"reason": "invalid-argument", "retryable": False}}


def reply(result=None, **members):
    return {"jsonrpc": "2.0", "id": 1} | ({"result": result} if result is not None else {}) | members


def refused(message, request=REQUEST):
    checked = Checked(SCHEMA_OF_ALL)
    if request:
        checked.sent(request)
    with pytest.raises(SchemaError):
        checked.received(message)


@pytest.fixture
def hello(pair):
    return pair[0].api.call("hello", client="x")


def test_what_the_daemon_says_is_held_to_it(hello):
    checked = Checked(SCHEMA_OF_ALL)
    checked.sent(REQUEST)
    checked.received(reply(hello))
    refused(reply(hello), None)  # nobody asked
    refused(reply(hello | {"undocumented": 1}))
    refused(reply(hello | {"api": "one"}))
    refused(reply({name: value for name, value in hello.items() if name != "api"}))
    refused(reply(hello, more=1))


def test_what_the_client_says_is_held_to_it(hello):
    refused(reply(hello), REQUEST | {"params": {"client": 7}})
    refused(reply(hello), REQUEST | {"params": {"client": "x", "more": 1}})
    refused(reply(hello), REQUEST | {"method": "no.such"})


def test_errors_are_held_to_it():
    checked = Checked(SCHEMA_OF_ALL)
    checked.received(reply(error=ERROR, id=None))  # of a line that was no request
    checked.sent(REQUEST)
    checked.received(reply(error=ERROR))
    with pytest.raises(SchemaError):
        checked.received(reply(error=ERROR))  # it has its answer
    refused(reply(error=ERROR), None)
    refused(reply(error=ERROR | {"code": -32001}))
    refused(reply(error=ERROR | {"message": "two\nlines"}))
    refused(reply(error=ERROR | {"data": ERROR["data"] | {"reason": "no-such-reason"}}))
    refused(reply(error=ERROR | {"data": ERROR["data"] | {"more": 1}}))
    refused(reply(error=ERROR | {"data": {"reason": "invalid-argument"}}))


def test_notifications_are_held_to_it():
    refused({"jsonrpc": "2.0", "method": "no.such", "params": {}})
    refused({"jsonrpc": "2.0", "method": "channel.closed", "params": {"channel": "x"}})


def test_events_are_held_to_their_types():
    event = {"seq": 1, "time": 1.5, "type": "network.state", "network": "connected"}

    def note(params):
        return {"jsonrpc": "2.0", "method": "event", "params": params}

    Checked(SCHEMA_OF_ALL).received(note(event))
    refused(note(event | {"type": "no.such"}))
    refused(note(event | {"network": "fine"}))
    refused(note(event | {"undocumented": 1}))
    refused(note({name: value for name, value in event.items() if name != "network"}))


def test_what_the_command_line_says_is_held_to_it(pair, tmp_path):
    """Every verb, and what it answers to; whether it is right is for test_cli.py and its like."""
    alice, bob = pair
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "received").mkdir()
    (tmp_path / "passphrase").write_text("long enough\n", encoding="ascii")
    chain = alice.api.call("identity.show")["chain"]
    device, account = split(chain)[:2]
    crl = make_crl(tmp_path / "crl", account, alice.state / "identity" / "account.key", [device]).encode()

    def verb(*words, code=0, **options):
        done = alice.ctl(*words, **options)
        assert done.returncode == code, (words, done.stderr)
        return done.stdout

    def listening(node, *words):
        popen = node.ctl_start(*words, stderr=subprocess.PIPE)
        assert b"listening for" in popen.stderr.readline(), words
        return popen

    with alice.checked() as proxy, bob.checked() as there:
        for words in (["id"], ["status", "-v"], ["version"], ["connections"], ["channels"], ["trust", "list"], ["alias", "list"],
                      ["crl", "list"], ["identity", "show"], ["call", "daemon.status"], ["call", "rpc.discover"]):
            verb(*words)
            verb("--json", *words)
        verb("trust", "allow", "5a" * 32)
        verb("trust", "ban", "5a" * 20, "--kind", "ca")
        verb("trust", "unset", "5a" * 32)
        verb("alias", "set", "bob", bob.device)
        echo = listening(bob, "listen", "echo*", "--exec", "cat")
        assert verb("open", "bob", "echo", input=b"there and back") == b"there and back"
        verb("open", "bob", "nobody listens", code=5, input=b"")
        verb("close", "bob")
        echo.send_signal(signal.SIGINT)
        assert echo.wait(60 * SCALE) == 130
        receiver = listening(bob, "receive", str(tmp_path / "received"), "--count", "1")
        verb("send", "bob", str(tmp_path / "file"))
        assert receiver.wait(60 * SCALE) == 0
        verb("close", "123456", code=4)
        verb("requests")
        verb("accept", "5a" * 32, code=4)
        verb("alias", "remove", "bob")
        added = verb("crl", "add", "-", input=crl)
        verb("crl", "remove", added.decode().strip())
        request = verb("identity", "request")
        verb("identity", "sign", "-", input=request)
        verb("identity", "import", "-", input=chain.encode())
        verb("identity", "revoke", bob.device, code=4)  # of another account
        verb("identity", "export-account", "--passphrase-file", str(tmp_path / "passphrase"))
        events = alice.ctl_start("events", "--json", stdout=subprocess.PIPE)
        assert events.stdout.readline()
        verb("trust", "allow", "5b" * 32)
        assert b"trust" in events.stdout.readline()
        events.send_signal(signal.SIGINT)
        events.wait(60 * SCALE)
    said = proxy.methods | there.methods
    missing = set(SCHEMA_OF_ALL.params) - said
    # Programs' own; and what would end this daemon's account.
    assert missing <= {"channel.attach", "channel.cancel", "channel.decline", "connection.accept", "connection.decline",
                       "policy.register", "events.unsubscribe", "identity.forget_account_key"}, missing
    assert {"channel.request", "channel.closed", "event"} <= said, said  # it listens in mode ask alone
