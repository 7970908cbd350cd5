# SPDX-License-Identifier: GPL-3.0-or-later
"""That a message which is not as ipc/schema.json says is seen: all e2e tests lean on it."""
import pytest
from api_schema import SCHEMA_OF_ALL, Checked, SchemaError

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
    Checked(SCHEMA_OF_ALL).received(reply(error=ERROR))
    refused(reply(error=ERROR | {"code": -32001}))
    refused(reply(error=ERROR | {"message": "two\nlines"}))
    refused(reply(error=ERROR | {"data": ERROR["data"] | {"reason": "no-such-reason"}}))
    refused(reply(error=ERROR | {"data": ERROR["data"] | {"more": 1}}))
    refused(reply(error=ERROR | {"data": {"reason": "invalid-argument"}}))


def test_notifications_are_held_to_it():
    refused({"jsonrpc": "2.0", "method": "no.such", "params": {}})
    refused({"jsonrpc": "2.0", "method": "channel.closed", "params": {"channel": "x"}})
